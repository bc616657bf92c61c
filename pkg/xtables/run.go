package xtables

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// programLimit is how long one of the iptables programs may run. The longest of them, which load or print all rules of a large cluster, take
// some seconds, and half a minute on a slow machine. One that hangs would keep every further change from being written.
const programLimit = 5 * time.Minute

// outputDelay is how much longer a program's children may hold its output open.
const outputDelay = 10 * time.Second

// run runs a program for as long as it may take.
func run(ctx context.Context, limit time.Duration, path string, args []string, set func(cmd *exec.Cmd)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, path, args...)
	cmd.WaitDelay = outputDelay
	set(cmd)
	err := cmd.Run()
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s has not ended after %s and was killed: %w", path, limit, context.DeadlineExceeded)
	}
	return err
}
