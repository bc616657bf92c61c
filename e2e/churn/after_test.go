package churn

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// settled waits until the rules do not change any more.
func (c *cluster) settled() left {
	c.t.Helper()
	const quiet = 2 * time.Second
	before := c.left()
	c.Eventually("the rules stay as they are", func() error {
		time.Sleep(quiet)
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

// flat compares what Fairlead uses with what it used when it was warm.
func flat(t *testing.T, warm, end usage) {
	t.Helper()
	if 2*end.rss > 3*warm.rss {
		t.Errorf("the memory grows: %d KiB, then %d KiB", warm.rss, end.rss)
	}
	// Some go to programs that run at the moment.
	const some = 8
	if end.files > warm.files+some || end.threads > warm.threads+some {
		t.Errorf("files or threads grow: %s, then %s", warm, end)
	}
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

// dumped ends Fairlead in the way that makes Go list all goroutines, and counts them.
func (c *cluster) dumped(p *lab.Process) int {
	c.t.Helper()
	before := len(c.Log.String())
	if err := p.Stop(syscall.SIGQUIT); err == nil {
		c.t.Error("Fairlead ended well by SIGQUIT, and so has dumped nothing")
	}
	return len(goroutine.FindAllString(c.Log.String()[before:], -1))
}

// anew removes all that Fairlead has made, and has a new one make it again of the same objects.
func (c *cluster) anew(before left, goroutines int) {
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
	c.t.Logf("%d goroutines, %d in the new Fairlead", goroutines, fresh)
	const some = 8
	if goroutines == 0 || goroutines > fresh+some {
		c.t.Errorf("Fairlead had %d goroutines, and a new one has %d", goroutines, fresh)
	}
}
