package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/e2e/lab"
)

// phase is a time in which the same pods stand behind the Services.
type phase struct {
	title   string
	change  func() error // what begins it, if anything
	members []pod        // who gets connections
	comes   *pod         // whom the change added
	goes    *pod         // whom the change removed
}

// connections is how many are counted for each way and phase. Those of the time until a change shows come on top.
const connections = 300

// showChange shows a pod that comes and goes, over IPv4.
func (d *demo) showChange(ctx context.Context) error {
	few, spare := d.stage.pods, d.stage.spare
	more := slices.Concat(few, []pod{spare})
	return d.show(ctx, lab.IPv4, []phase{
		{
			title:   fmt.Sprintf("Before: %d pods stand behind the Services, and %s does not.", len(few), spare.name),
			members: few,
		}, {
			title:   fmt.Sprintf("%s is added to the EndpointSlices, while the traffic goes on.", spare.name),
			change:  func() error { return d.examples.addPod(spare) },
			members: more,
			comes:   &spare,
		}, {
			title:   fmt.Sprintf("%s is removed again, while the traffic goes on.", spare.name),
			change:  func() error { return d.examples.removePod(spare) },
			members: few,
			goes:    &spare,
		},
	})
}

// showIPv6 shows the same pods over IPv6.
func (d *demo) showIPv6(ctx context.Context) error {
	return d.show(ctx, lab.IPv6, []phase{{title: "The same Services over IPv6.", members: d.stage.pods}})
}

// show plays phases one after the other on traffic by both ways that never stops in between. Not a single connection may fail,
// in a phase or between two.
func (d *demo) show(ctx context.Context, f lab.Family, phases []phase) (err error) {
	var streams []*traffic
	for _, w := range d.ways(f) {
		streams = append(streams, startTraffic(ctx, w))
	}
	defer func() {
		for _, t := range streams {
			t.stop()
			all := t.since(time.Time{})
			d.total += len(all)
			if failed := failures(all); err == nil && len(failed) > 0 {
				err = fmt.Errorf("%s: %d of %d connections failed, the first: %w", t.way, len(failed), len(all), failed[0])
			}
		}
	}()
	for _, p := range phases {
		if err := d.play(ctx, f, p, streams); err != nil {
			return err
		}
	}
	return nil
}

// play begins a phase, waits until its change shows, counts, and says and checks what it has counted.
func (d *demo) play(ctx context.Context, f lab.Family, p phase, streams []*traffic) error {
	d.phases++
	d.say("%d. %s", d.phases, p.title)
	began := time.Now()
	if p.change != nil {
		if err := p.change(); err != nil {
			return err
		}
		for _, t := range streams {
			if err := await(ctx, t.String(), func() error { return p.shows(f, t, began) }); err != nil {
				return err
			}
		}
		d.say("   %s", p.delay(f, streams, began))
	}
	tallies, err := d.measure(ctx, f, p, streams)
	if err != nil {
		return err
	}
	total, failed := 0, 0
	for _, t := range streams {
		since := t.since(began)
		total += len(since)
		failed += len(failures(since))
	}
	var wrong []error
	for _, t := range tallies {
		wrong = append(wrong, t.check())
	}
	d.say("%s", chartOf(tallies, d.pods()))
	if failed > 0 {
		d.say("   %d connections in this phase, %d FAILED.", total, failed)
	} else {
		d.say("   %d connections in this phase, 0 failed. %s\n", total, fairness(tallies))
	}
	return errors.Join(wrong...)
}

// pods are all pods, whether they are behind the Services or not.
func (d *demo) pods() []pod { return slices.Concat(d.stage.pods, []pod{d.stage.spare}) }

// shows tells whether traffic shows the change of a phase by now. One that makes connections fail has shown itself too.
func (p phase) shows(f lab.Family, t *traffic, began time.Time) error {
	since := t.since(began)
	if len(failures(since)) > 0 {
		return nil
	}
	if p.comes != nil && count(since)[p.comes.server(f)] == 0 {
		return fmt.Errorf("%s was added and got no connection", p.comes.name)
	}
	// With one of four pods, it takes a chance of one in thirty million to be passed over so often.
	const often = 60
	if p.goes != nil {
		last := since[max(0, len(since)-often):]
		if len(last) < often || count(last)[p.goes.server(f)] > 0 {
			return fmt.Errorf("%s was removed and gets connections", p.goes.name)
		}
	}
	return nil
}

// delay says how long the change took to show for the slowest stream.
func (p phase) delay(f lab.Family, streams []*traffic, began time.Time) string {
	var slowest time.Duration
	for _, t := range streams {
		var first, last time.Duration
		for _, o := range t.since(began) {
			after := o.began.Sub(began)
			if p.comes != nil && o.server == p.comes.server(f) && (first == 0 || after < first) {
				first = after
			}
			if p.goes != nil && o.server == p.goes.server(f) {
				last = max(last, after)
			}
		}
		slowest = max(slowest, first, last)
	}
	if p.comes != nil {
		return fmt.Sprintf("It got its first connection %s after the files were rewritten.", seconds(slowest))
	}
	return fmt.Sprintf("It got its last connection %s after the files were rewritten.", seconds(slowest))
}
