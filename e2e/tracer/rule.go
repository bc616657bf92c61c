package tracer

import (
	"errors"
	"fmt"
	"strings"
)

// rule is a rule as it was understood when it was read.
type rule struct {
	header  header
	matches []match
	target  target  // nil for a rule that only counts and for a jump
	to      string  // the chain of a jump or goto
	goes    bool    // it is a goto
	chance  float64 // how often the statistic matches let a packet through
	text    string  // as iptables-save writes it after "-A CHAIN "
	varies  bool    // the text of an IPv6 rule set is another
}

// ruleEnv is what reading a rule needs to know of its surroundings.
type ruleEnv struct {
	table       string
	family      *family
	isUserChain func(name string) bool
}

// extension is a match or a target.
type extension interface {
	// name is what follows -m or -j.
	name() string
	// options lists what may follow its name. What they keep must not hold
	// on to env, which lasts only as long as the reading.
	options(env *ruleEnv) []option
	// check looks at the whole after the last word of the rule.
	check(r *rule) error
	// text is what iptables-save writes after its name: options, each with a
	// blank before it.
	text(f family) string
}

// match is a condition of a rule beyond its header.
type match interface {
	extension
	matches(w *walk, f *flight) bool
}

// target is what a rule does to packets that match, other than a jump.
type target interface {
	extension
	apply(w *walk, f *flight) (verdict, error)
}

// varying is an extension whose text depends on the family.
type varying interface{ variesByFamily() bool }

// option is one option of a header or an extension.
type option struct {
	names      []string // the first is the one iptables-save writes
	values     int      // how many words follow
	invertible bool
	set        func(inverted bool, values []string) error
}

// opt makes an option; names are separated by blanks.
func opt(names string, values int, set func(inverted bool, values []string) error) option {
	return option{names: strings.Fields(names), values: values, set: set}
}

// invertibleOpt makes an option that may follow a "!".
func invertibleOpt(names string, values int, set func(inverted bool, values []string) error) option {
	o := opt(names, values, set)
	o.invertible = true
	return o
}

// flag makes an option without a value.
func flag(names string, set *bool) option {
	return opt(names, 0, func(bool, []string) error { *set = true; return nil })
}

// textFor returns the text in a rule set of the given family.
func (r *rule) textFor(f family) string {
	if r.varies && f == familyIPv6 {
		return r.render(f)
	}
	return r.text
}

func (r *rule) render(f family) string {
	var b strings.Builder
	b.WriteString(r.header.text())
	for _, m := range r.matches {
		b.WriteString(" -m " + m.name() + m.text(f))
	}
	switch {
	case r.to != "" && r.goes:
		b.WriteString(" -g " + r.to)
	case r.to != "":
		b.WriteString(" -j " + r.to)
	case r.target != nil:
		b.WriteString(" -j " + r.target.name() + r.target.text(f))
	}
	return strings.TrimPrefix(b.String(), " ")
}

// readRule reads the words of a rule after its chain.
func readRule(words []string, env *ruleEnv) (*rule, error) {
	p := &ruleReader{words: words, env: env, rule: &rule{chance: 1}}
	p.parts = []*part{{options: p.rule.header.options(env)}}
	for len(p.words) > 0 {
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	r := p.rule
	for _, m := range r.matches {
		if err := checkExtension(r, env.table, "-m "+m.name(), m); err != nil {
			return nil, err
		}
	}
	if r.target != nil {
		if err := checkExtension(r, env.table, "-j "+r.target.name(), r.target); err != nil {
			return nil, err
		}
	}
	r.text = r.render(familyIPv4)
	return r, nil
}

func checkExtension(r *rule, table, name string, e extension) error {
	if l, ok := e.(limited); ok {
		if err := l.limits().checkTable(table); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := e.check(r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if v, ok := e.(varying); ok && v.variesByFamily() {
		r.varies = true
	}
	return nil
}

// ruleReader takes the words of a rule one option at a time.
type ruleReader struct {
	words []string
	env   *ruleEnv
	rule  *rule
	parts []*part // the header, then the extensions in the order of loading
}

// part is a header or extension whose options are being read.
type part struct {
	name    string
	options []option
	seen    uint64 // the options that were given, as bits
}

// pop takes the next n words.
func (p *ruleReader) pop(n int) ([]string, error) {
	if n > len(p.words) {
		return nil, errors.New("a value is missing")
	}
	taken := p.words[:n]
	p.words = p.words[n:]
	return taken, nil
}

// next takes one option with its values.
func (p *ruleReader) next() error {
	inverted := p.words[0] == "!"
	if inverted {
		p.words = p.words[1:]
	}
	words, err := p.pop(1)
	if err != nil {
		return errors.New("nothing follows the inversion")
	}
	name := words[0]
	if load, ok := p.loader(name); ok {
		if inverted {
			return fmt.Errorf("! cannot precede %s", name)
		}
		values, err := p.pop(1)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return load(values[0])
	}
	if taken, err := p.take(name, inverted); taken || err != nil {
		return err
	}
	// "-p tcp --dport 80" loads the match tcp by itself.
	if p.loadProtocolMatch() {
		if taken, err := p.take(name, inverted); taken || err != nil {
			return err
		}
	}
	return fmt.Errorf("unknown option %q", name)
}

// loader returns what to do with -m, -j and -g.
func (p *ruleReader) loader(name string) (func(string) error, bool) {
	switch name {
	case "-m", "--match":
		return p.loadMatch, true
	case "-j", "--jump":
		return p.jump, true
	case "-g", "--goto":
		return p.goTo, true
	}
	return nil, false
}

// take gives an option to the part that knows it, the youngest first.
func (p *ruleReader) take(name string, inverted bool) (bool, error) {
	for i := len(p.parts) - 1; i >= 0; i-- {
		part := p.parts[i]
		for j, o := range part.options {
			for _, n := range o.names {
				if n == name {
					return true, p.setOption(part, j, name, inverted)
				}
			}
		}
	}
	return false, nil
}

func (p *ruleReader) setOption(in *part, index int, name string, inverted bool) error {
	o, bit := in.options[index], uint64(1)<<index
	if in.seen&bit != 0 {
		return fmt.Errorf("%s is given twice", name)
	}
	if inverted && !o.invertible {
		return fmt.Errorf("! cannot precede %s", name)
	}
	values, err := p.pop(o.values)
	if err == nil {
		err = o.set(inverted, values)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	in.seen |= bit
	return nil
}

func (p *ruleReader) loadMatch(name string) error {
	create, known := matchKinds[name]
	if !known {
		return fmt.Errorf("unknown match %q", name)
	}
	m := create()
	p.rule.matches = append(p.rule.matches, m)
	p.parts = append(p.parts, &part{name: name, options: m.options(p.env)})
	return nil
}

func (p *ruleReader) loadProtocolMatch() bool {
	h := &p.rule.header
	name := protocolNames[h.proto.number]
	if !h.proto.set || h.proto.inverted || name != "tcp" && name != "udp" && name != "sctp" {
		return false
	}
	for _, loaded := range p.parts {
		if loaded.name == name {
			return false
		}
	}
	return p.loadMatch(name) == nil
}

func (p *ruleReader) jump(name string) error {
	if p.rule.target != nil || p.rule.to != "" {
		return errors.New("more than one target")
	}
	if create, known := targetKinds[name]; known {
		t := create()
		p.rule.target = t
		p.parts = append(p.parts, &part{options: t.options(p.env)})
		return nil
	}
	if !p.env.isUserChain(name) {
		return fmt.Errorf("there is no chain or target %q", name)
	}
	p.rule.to = name
	return nil
}

func (p *ruleReader) goTo(name string) error {
	if p.rule.target != nil || p.rule.to != "" {
		return errors.New("more than one target")
	}
	if !p.env.isUserChain(name) {
		return fmt.Errorf("there is no chain %q", name)
	}
	p.rule.to, p.rule.goes = name, true
	return nil
}
