package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/e2e/lab"
)

// showEnd stops Fairlead, shows that its rules still serve, removes them, and takes the network down.
func (d *demo) showEnd(ctx context.Context) error {
	if err := d.fairlead.stop(); err != nil {
		return err
	}
	for _, w := range d.ways(lab.IPv4) {
		if err := w.stillAnswers(ctx); err != nil {
			return fmt.Errorf("after the end of Fairlead its rules have to stay: %w", err)
		}
	}
	before, err := d.fairlead.chains(ctx)
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return fmt.Errorf("none of %s shows a chain of Fairlead's", savePrograms())
	}
	d.say("Fairlead is stopped; its rules stay and the Services still answer.")
	if err := d.fairlead.cleanup(ctx); err != nil {
		return err
	}
	after, err := d.fairlead.chains(ctx)
	if err != nil {
		return err
	}
	if len(after) > 0 {
		return fmt.Errorf("chains are left after fairlead cleanup: %v", after)
	}
	var found []string
	for _, program := range slices.Sorted(maps.Keys(before)) {
		found = append(found, fmt.Sprintf("%d chains in %s", before[program], program))
	}
	d.say("After fairlead cleanup nothing is left of %s.", strings.Join(found, " and "))
	return d.stage.Close()
}
