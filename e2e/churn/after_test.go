package churn

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// settled waits until the rules do not change any more. A verification is followed by a sync of whatever is pending, so two of them
// have one between them.
func (c *cluster) settled() left {
	c.t.Helper()
	before := c.left()
	c.Eventually("the rules stay as they are", func() error {
		c.Verified(2)
		now := c.left()
		changed := fmt.Sprint(now.rules) != fmt.Sprint(before.rules)
		before = now
		if changed {
			return errors.New("they change")
		}
		return nil
	})
	return before
}

// quiet looks for what Fairlead has no reason to say.
func (c *cluster) quiet() {
	c.t.Helper()
	for _, text := range []string{"Repairing rules", "Could not"} {
		if n := c.Log.Count(text); n > 0 {
			c.t.Errorf("Fairlead says %d times %q", n, text)
		}
	}
}

var goroutine = regexp.MustCompile(`(?m)^goroutine [1-9][0-9]* .*:$`)

// dumped returns what Fairlead uses, with its goroutines. To count them, it ends Fairlead in the way that makes Go list them.
func (c *cluster) dumped(p *lab.Process) usage {
	c.t.Helper()
	u, before := measure(c.t, p), len(c.Log.String())
	if err := p.Stop(syscall.SIGQUIT); err == nil {
		c.t.Error("Fairlead ended well by SIGQUIT, and so has dumped nothing")
	}
	u.goroutines = len(goroutine.FindAllString(c.Log.String()[before:], -1))
	return u
}

// anew removes all that Fairlead has made, and has a new one make it again of the same objects. It compares both the rules and what
// the two Fairleads used when they had nothing to do.
func (c *cluster) anew(before left, old usage) {
	c.t.Helper()
	if out, err := c.Node().Output(c.t.Context(), site.Program, "cleanup"); err != nil {
		c.t.Fatalf("cleanup: %v\n%s", err, out)
	}
	if l := c.left(); len(l.lists)+len(l.sets) > 0 || strings.Contains(fmt.Sprint(l.rules), "FL-") {
		c.t.Errorf("cleanup leaves %v", l)
	}
	said := c.Log.Count("Synced for the first time")
	process := c.fairlead(churnFlags...)
	c.Eventually("Fairlead syncs both families", func() error {
		if n := c.Log.Count("Synced for the first time") - said; n != len(lab.Families) {
			return fmt.Errorf("%d have been synced", n)
		}
		return nil
	})
	after := c.settled()
	for _, f := range lab.Families {
		if diff := cmp.Diff(before.rules[f], after.rules[f]); diff != "" {
			c.t.Errorf("%s: a new Fairlead makes other rules (-before +anew):\n%s", f, diff)
		}
	}
	fresh := c.dumped(process)
	c.t.Logf("Fairlead at the end: %s; the new one: %s", old, fresh)
	// Some files belong to programs that run at the moment.
	const some = 8
	if old.goroutines == 0 || old.goroutines > fresh.goroutines+some {
		c.t.Errorf("Fairlead had %d goroutines, and a new one has %d", old.goroutines, fresh.goroutines)
	}
	if old.files > fresh.files+some {
		c.t.Errorf("Fairlead had %d open files, and a new one has %d", old.files, fresh.files)
	}
}
