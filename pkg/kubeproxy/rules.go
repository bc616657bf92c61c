package kubeproxy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/xtables"
)

// rules is what one variant of iptables holds of kube-proxy's.
type rules struct {
	tables map[string]*table
}

// table is one table of it.
type table struct {
	// chains are kube-proxy's, with those of them that their rules lead to. These are filled in only where somebody else's rule needs a
	// chain.
	chains map[string][]string
	// jumps are kube-proxy's own ways in, from built-in chains, as iptables-save prints them behind "-A ".
	jumps []string
	// foreign are others' rules that lead to kube-proxy's chains, by chain.
	foreign map[string][]string
}

var builtin = map[string]bool{"PREROUTING": true, "INPUT": true, "FORWARD": true, "OUTPUT": true, "POSTROUTING": true}

// read asks one variant what it holds. With children, it also notes which chain leads to which.
func read(ctx context.Context, kernel xtables.Kernel, children bool) (r *rules, err error) {
	err = xtables.Steadily(ctx, kernel, func() error {
		r, err = readOnce(ctx, kernel, children)
		return err
	})
	return r, err
}

func readOnce(ctx context.Context, kernel xtables.Kernel, children bool) (*rules, error) {
	out, in := io.Pipe()
	found := make(chan *rules, 1)
	go func() {
		r, err := parse(out, children)
		out.CloseWithError(err)
		found <- r
	}()
	err := kernel.Save(ctx, in)
	in.CloseWithError(err)
	r := <-found
	if err != nil {
		return nil, fmt.Errorf("read the kernel's rules: %w", err)
	}
	return r, nil
}

// parse reads what iptables-save prints.
func parse(from io.Reader, children bool) (*rules, error) {
	r := &rules{tables: map[string]*table{}}
	var t *table
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "*"):
			t = &table{chains: map[string][]string{}, foreign: map[string][]string{}}
			r.tables[line[1:]] = t
		case t == nil:
		case strings.HasPrefix(line, ":"):
			if name, _, _ := strings.Cut(line[1:], " "); isChain(name) {
				t.chains[name] = nil
			}
		case strings.HasPrefix(line, "-A "):
			t.rule(line[len("-A "):], children)
		}
	}
	return r, lines.Err()
}

func (t *table) rule(rule string, children bool) {
	to := target(rule)
	if !isChain(to) {
		return
	}
	if _, there := t.chains[to]; !there {
		return
	}
	from, _, _ := strings.Cut(rule, " ")
	_, own := t.chains[from]
	switch {
	case own && children:
		t.chains[from] = append(t.chains[from], to)
	case own:
	case builtin[from] && entries[to]:
		t.jumps = append(t.jumps, rule)
	default:
		t.foreign[to] = append(t.foreign[to], "-A "+rule)
	}
}

// target is the chain that a rule leads to: nothing follows it.
func target(rule string) string {
	at := max(strings.LastIndex(rule, " -j "), strings.LastIndex(rule, " -g "))
	if at < 0 {
		return ""
	}
	return rule[at+len(" -j "):]
}

// standing reports whether there is anything that only a kube-proxy makes.
func (r *rules) standing() bool {
	for _, t := range r.tables {
		for name := range t.chains {
			if !shared[name] {
				return true
			}
		}
	}
	return false
}

// needed are the chains of a table that others' rules lead to, and all that those lead to. A chain that marks packets to be masqueraded
// needs the one that does it.
func (t *table) needed() map[string]bool {
	keep := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if _, there := t.chains[name]; !there || keep[name] {
			return
		}
		keep[name] = true
		for _, to := range t.chains[name] {
			add(to)
		}
		if name == "KUBE-MARK-MASQ" {
			add("KUBE-POSTROUTING")
		}
	}
	for name := range t.foreign {
		add(name)
	}
	return keep
}

// chunk is how many chains are removed at once in the nft variant, whose time for a restore grows with the square of them.
const chunk = 250

// removal is the input for iptables-restore that removes a table's chains but those to keep, in parts. Everything is emptied before the
// first chain goes, as they lead to each other.
func (t *table) removal(name string, keep map[string]bool, atOnce int) []string {
	var going []string
	for _, chain := range slices.Sorted(maps.Keys(t.chains)) {
		if !keep[chain] {
			going = append(going, chain)
		}
	}
	jumps := slices.DeleteFunc(slices.Clone(t.jumps), func(rule string) bool { return keep[target(rule)] })
	if len(going) == 0 && len(jumps) == 0 {
		return nil
	}
	if len(going) <= atOnce {
		return []string{section(name, jumps, going, going)}
	}
	parts := []string{section(name, jumps, nil, nil)}
	for part := range slices.Chunk(going, atOnce) {
		parts = append(parts, section(name, nil, part, nil))
	}
	for part := range slices.Chunk(going, atOnce) {
		parts = append(parts, section(name, nil, part, part))
	}
	return parts
}

func section(table string, jumps, empty, remove []string) string {
	var text strings.Builder
	text.WriteString("*" + table + "\n")
	for _, name := range empty {
		text.WriteString(":" + name + " - [0:0]\n")
	}
	for _, rule := range jumps {
		text.WriteString("-D " + rule + "\n")
	}
	for _, name := range remove {
		text.WriteString("-X " + name + "\n")
	}
	text.WriteString("COMMIT\n")
	return text.String()
}

// variants opens those that are installed.
func variants(ctx context.Context, family service.Family) ([]xtables.Kernel, error) {
	var list []xtables.Kernel
	for _, v := range []xtables.Variant{xtables.NFT, xtables.Legacy} {
		kernel, err := xtables.Open(ctx, family, v)
		if errors.Is(err, xtables.ErrNotInstalled) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, kernel)
	}
	return list, nil
}

// rulesStand reports whether there are rules of a kube-proxy in any variant.
func rulesStand(ctx context.Context, family service.Family) (bool, error) {
	kernels, err := variants(ctx, family)
	if err != nil {
		return false, err
	}
	for _, kernel := range kernels {
		r, err := read(ctx, kernel, false)
		if err != nil {
			return false, err
		}
		if r.standing() {
			return true, nil
		}
	}
	return false, nil
}

// ErrForeign says that another program's rule leads to kube-proxy's chains.
var ErrForeign = errors.New("another program's rule needs it")

// removeRules removes kube-proxy's chains in all variants. It keeps what others' rules need, and names those in an ErrForeign.
func removeRules(ctx context.Context, family service.Family) error {
	kernels, err := variants(ctx, family)
	if err != nil {
		return err
	}
	var failed []error
	for _, kernel := range kernels {
		failed = append(failed, removeFrom(ctx, kernel))
	}
	return errors.Join(failed...)
}

func removeFrom(ctx context.Context, kernel xtables.Kernel) error {
	r, err := read(ctx, kernel, false)
	if err == nil && r.foreign() {
		r, err = read(ctx, kernel, true)
	}
	if err != nil {
		return err
	}
	var foreign []error
	var whole strings.Builder
	for _, name := range slices.SortedFunc(maps.Keys(r.tables), compareTables) {
		t := r.tables[name]
		parts := t.removal(name, t.needed(), atOnce(kernel))
		if kernel.Variant() == xtables.NFT {
			for _, part := range parts {
				if err := kernel.Restore(ctx, []byte(part)); err != nil {
					return fmt.Errorf("remove kube-proxy's chains: %w", err)
				}
			}
		} else {
			whole.WriteString(strings.Join(parts, ""))
		}
		for _, to := range slices.Sorted(maps.Keys(t.foreign)) {
			foreign = append(foreign, fmt.Errorf("kube-proxy's chain %s in table %s stays: %w: %q", to, name, ErrForeign, t.foreign[to][0]))
		}
	}
	if whole.Len() > 0 {
		if err := kernel.Restore(ctx, []byte(whole.String())); err != nil {
			return fmt.Errorf("remove kube-proxy's chains: %w", err)
		}
	}
	return errors.Join(foreign...)
}

func (r *rules) foreign() bool {
	for _, t := range r.tables {
		if len(t.foreign) > 0 {
			return true
		}
	}
	return false
}

func atOnce(kernel xtables.Kernel) int {
	if kernel.Variant() == xtables.NFT {
		return chunk
	}
	return 1 << 30
}

// compareTables puts filter before nat: who is refused by one of kube-proxy's rules is not led there by another any more.
func compareTables(x, y string) int {
	order := []string{"filter", "nat", "mangle", "raw", "security"}
	return cmp.Or(cmp.Compare(slices.Index(order, x), slices.Index(order, y)), strings.Compare(x, y))
}
