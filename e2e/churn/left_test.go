package churn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/e2e/lab"
)

// left is all that the node's kernel holds for Fairlead.
type left struct {
	rules map[lab.Family]string
	// lists and sets are the names of the lists of xt_recent and of the ipsets, sorted.
	lists, sets []string
}

func (c *cluster) left() left {
	c.t.Helper()
	l := left{rules: map[lab.Family]string{}}
	for _, f := range lab.Families {
		rules, err := c.rules(f)
		if err != nil {
			c.t.Fatal(err)
		}
		l.rules[f] = rules
	}
	err := c.Node().Do(func() (err error) {
		if l.lists, err = recentLists(); err != nil {
			return err
		}
		l.sets, err = ipsets()
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

// rules are a family's rules, chain after chain in the order of their names: that of the kernel may depend on what was there before,
// and means nothing. Comments and counters are left out.
func (c *cluster) rules(f lab.Family) (string, error) {
	program := map[lab.Family]string{lab.IPv4: "iptables-", lab.IPv6: "ip6tables-"}[f] + c.Variant + "-save"
	out, err := c.Node().Output(context.Background(), program)
	if err != nil {
		return "", fmt.Errorf("read the rules: %w", err)
	}
	var sorted strings.Builder
	for table := range strings.SplitSeq(out, "COMMIT\n") {
		var lines []string
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, ":") {
				line, _, _ = strings.Cut(line, " [")
			}
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		slices.SortStableFunc(lines, func(x, y string) int { return strings.Compare(chainOf(x), chainOf(y)) })
		sorted.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return sorted.String(), nil
}

// chainOf is what a line of iptables-save is sorted by: the table's name comes first, then the chains, then the rules.
func chainOf(line string) string {
	switch words := strings.Fields(line); {
	case strings.HasPrefix(line, "*"):
		return ""
	case strings.HasPrefix(line, ":"):
		return "1 " + line
	default:
		return "2 " + words[1]
	}
}

// recentLists names the lists of xt_recent in the network namespace of the calling thread.
func recentLists() ([]string, error) {
	files, err := os.ReadDir("/proc/thread-self/net/xt_recent")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the module is not loaded
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name()
	}
	return names, err
}

// ipsets names the sets in the network namespace of the calling thread.
func ipsets() ([]string, error) {
	sets, err := netlink.IpsetListAll()
	if errors.Is(err, unix.EINVAL) {
		return nil, nil // the module is not loaded
	}
	if err != nil {
		return nil, fmt.Errorf("list ipsets: %w", err)
	}
	var names []string
	for _, s := range sets {
		names = append(names, s.SetName)
	}
	slices.Sort(names)
	return names, nil
}

var (
	namesList = regexp.MustCompile(`-m recent .*--name (\S+)`)
	namesSet  = regexp.MustCompile(`--match-set (\S+)`)
)

// named finds the names in the rules of both families that a pattern captures, sorted.
func (l left) named(pattern *regexp.Regexp) []string {
	var names []string
	for _, rules := range l.rules {
		for _, match := range pattern.FindAllStringSubmatch(rules, -1) {
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// leaks reports the lists and sets that no rule names.
func (l left) leaks() error {
	var errs []error
	if named := l.named(namesList); !slices.Equal(l.lists, named) {
		errs = append(errs, fmt.Errorf("the kernel has %d lists of clients, and the rules name %d:\n%v\n%v", len(l.lists), len(named), l.lists, named))
	}
	if named := l.named(namesSet); !slices.Equal(l.sets, named) {
		errs = append(errs, fmt.Errorf("the kernel has the ipsets %v, and the rules name %v", l.sets, named))
	}
	return errors.Join(errs...)
}
