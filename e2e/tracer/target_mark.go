package tracer

import (
	"errors"
	"fmt"
)

// markTarget is -j MARK. All its options come down to one: clear the bits of
// the mask, then flip those of the value.
type markTarget struct {
	set         bool
	value, mask uint32
}

func (t *markTarget) name() string { return "MARK" }

func (t *markTarget) options(*ruleEnv) []option {
	masked := func(names string, mask func(value, mask uint32) uint32) option {
		return opt(names, 1, t.reader(func(s string) error {
			value, m, err := parseMarkMask(s)
			t.value, t.mask = value, mask(value, m)
			return err
		}))
	}
	bits := func(names string, apply func(bits uint32)) option {
		return opt(names, 1, t.reader(func(s string) error {
			n, err := parseNumber(s, 32)
			apply(uint32(n))
			return err
		}))
	}
	return []option{
		masked("--set-xmark", func(_, mask uint32) uint32 { return mask }),
		masked("--set-mark", func(value, mask uint32) uint32 { return value | mask }),
		bits("--or-mark", func(n uint32) { t.value, t.mask = n, n }),
		bits("--and-mark", func(n uint32) { t.value, t.mask = 0, ^n }),
		bits("--xor-mark", func(n uint32) { t.value, t.mask = n, 0 }),
	}
}

func (t *markTarget) reader(read func(string) error) func(bool, []string) error {
	return func(_ bool, values []string) error {
		if t.set {
			return errors.New("only one way to set the mark may be given")
		}
		t.set = true
		return read(values[0])
	}
}

func (t *markTarget) check(*rule) error {
	if !t.set {
		return errors.New("no mark given")
	}
	return nil
}

func (t *markTarget) apply(_ *walk, f *flight) (verdict, error) {
	f.mark = f.mark&^t.mask ^ t.value
	return verdictNext, nil
}

func (t *markTarget) text(family) string {
	return fmt.Sprintf(" --set-xmark 0x%x/0x%x", t.value, t.mask)
}
