package main

import (
	"context"
	"fmt"
	"time"
)

// patience is how long anything may take to show.
const patience = 60 * time.Second

// await tries until it goes well.
func await(ctx context.Context, what string, try func() error) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); ; {
		err := try()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s: after %v still: %w", what, patience, err)
		}
		<-again.C
	}
}
