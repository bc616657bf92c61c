package tracer

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	counters       = regexp.MustCompile(`^\[[0-9]+:[0-9]+\]$`)
	leadingCounter = regexp.MustCompile(`^\[[0-9]+:[0-9]+\]`)
)

// declare takes a line ":CHAIN POLICY [COUNTERS]" without its colon.
func (d *draft) declare(rest string) error {
	words := strings.Fields(rest)
	if len(words) < 2 || len(words) > 3 {
		return errors.New("want :CHAIN POLICY [PACKETS:BYTES]")
	}
	name, policy := words[0], words[1]
	if len(words) == 3 && !counters.MatchString(words[2]) {
		return fmt.Errorf("%q is not [PACKETS:BYTES]", words[2])
	}
	c, exists := d.chains[name]
	switch {
	case exists && c.builtin() && policy == "-":
		return nil
	case exists && c.builtin():
		return d.setPolicy(name, policy)
	case policy != "-":
		return fmt.Errorf("chain %s is not built in and has no policy", name)
	case exists:
		return d.flush(name)
	}
	return d.create(name)
}

func (d *draft) setPolicy(name, policy string) error {
	c, err := d.edit(name)
	switch {
	case err != nil:
		return err
	case !c.builtin():
		return fmt.Errorf("chain %s is not built in and has no policy", name)
	case policy != "ACCEPT" && policy != "DROP":
		return fmt.Errorf("%q is not a policy", policy)
	}
	c.policy = policy
	return nil
}

// commands are the commands of iptables and what each does with the words
// after its name.
var commands = map[string]func(d *draft, words []string) error{
	"-A": (*draft).cmdAppend, "--append": (*draft).cmdAppend,
	"-I": (*draft).cmdInsert, "--insert": (*draft).cmdInsert,
	"-D": (*draft).cmdDelete, "--delete": (*draft).cmdDelete,
	"-F": (*draft).cmdFlush, "--flush": (*draft).cmdFlush,
	"-X": (*draft).cmdRemove, "--delete-chain": (*draft).cmdRemove,
	"-N": (*draft).cmdNew, "--new-chain": (*draft).cmdNew,
	"-P": (*draft).cmdPolicy, "--policy": (*draft).cmdPolicy,
	"-Z": (*draft).cmdZero, "--zero": (*draft).cmdZero,
}

func (d *draft) command(line string) error {
	line = strings.TrimPrefix(line, leadingCounter.FindString(line))
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("no command")
	}
	run, known := commands[words[0]]
	if !known {
		return fmt.Errorf("unknown command %q", words[0])
	}
	return run(d, words[1:])
}

// readRuleFor reads the words of a rule that is meant for a chain.
func (d *draft) readRuleFor(c *chain, words []string) (*rule, error) {
	env := &ruleEnv{table: d.name, family: &d.family, isUserChain: func(name string) bool {
		to, ok := d.chains[name]
		return ok && !to.builtin()
	}}
	r, err := readRule(words, env)
	if err != nil {
		return nil, err
	}
	if c.builtin() {
		return r, r.header.fits(c.name)
	}
	return r, nil
}

func (d *draft) ownChain(words []string) (*chain, error) {
	if len(words) == 0 {
		return nil, errors.New("no chain given")
	}
	return d.edit(words[0])
}

func (d *draft) cmdAppend(words []string) error {
	c, err := d.ownChain(words)
	if err != nil {
		return err
	}
	r, err := d.readRuleFor(c, words[1:])
	if err != nil {
		return err
	}
	d.insert(c, len(c.rules), r)
	return nil
}

func (d *draft) cmdInsert(words []string) error {
	c, err := d.ownChain(words)
	if err != nil {
		return err
	}
	at, rest := uint64(1), words[1:]
	if len(rest) > 0 && rest[0] != "!" && !strings.HasPrefix(rest[0], "-") {
		if at, err = parseNumber(rest[0], 31); err != nil || at == 0 {
			return fmt.Errorf("%q is not a rule number", rest[0])
		}
		rest = rest[1:]
	}
	r, err := d.readRuleFor(c, rest)
	if err != nil {
		return err
	}
	if at > uint64(len(c.rules))+1 {
		return fmt.Errorf("rule number %d is past the end of chain %s", at, c.name)
	}
	d.insert(c, int(at)-1, r)
	return nil
}

// cmdDelete deletes by number, or the first rule that reads the same.
func (d *draft) cmdDelete(words []string) error {
	c, err := d.ownChain(words)
	if err != nil {
		return err
	}
	rest := words[1:]
	if len(rest) == 1 && !strings.HasPrefix(rest[0], "-") {
		at, err := parseNumber(rest[0], 31)
		if err != nil || at == 0 || at > uint64(len(c.rules)) {
			return fmt.Errorf("chain %s has no rule %s", c.name, rest[0])
		}
		d.delete(c, int(at)-1)
		return nil
	}
	r, err := d.readRuleFor(c, rest)
	if err != nil {
		return err
	}
	for i, have := range c.rules {
		if have.text == r.text {
			d.delete(c, i)
			return nil
		}
	}
	return fmt.Errorf("chain %s has no such rule", c.name)
}

// cmdFlush flushes a chain, or every chain if none is given.
func (d *draft) cmdFlush(words []string) error {
	return d.oneOrAll(words, d.flush, d.chainNames)
}

// cmdRemove removes a chain, or every chain of the user if none is given.
func (d *draft) cmdRemove(words []string) error {
	return d.oneOrAll(words, d.remove, func() []string {
		return d.chainNames()[len(builtinChains[d.name]):]
	})
}

func (d *draft) oneOrAll(words []string, do func(string) error, all func() []string) error {
	if len(words) > 1 {
		return fmt.Errorf("unexpected %q", words[1])
	}
	if len(words) == 1 {
		return do(words[0])
	}
	for _, name := range all() {
		if err := do(name); err != nil {
			return err
		}
	}
	return nil
}

func (d *draft) cmdNew(words []string) error {
	if len(words) != 1 {
		return errors.New("want one chain name")
	}
	return d.create(words[0])
}

func (d *draft) cmdPolicy(words []string) error {
	if len(words) != 2 {
		return errors.New("want a chain and a policy")
	}
	// The command itself refuses this; a chain line lets it pass.
	if d.name == "nat" && words[1] == "DROP" {
		return errNoFilterInNAT
	}
	return d.setPolicy(words[0], words[1])
}

var errNoFilterInNAT = errors.New("the nat table is not for filtering: DROP is not allowed")

// cmdZero would set counters to zero; there are none here.
func (d *draft) cmdZero(words []string) error {
	return d.oneOrAll(words, func(name string) error {
		_, err := d.edit(name)
		return err
	}, func() []string { return nil })
}
