package config

import "fmt"

// modeValue is a mode as a flag. Two different ones are refused, for nobody can tell which is meant.
type modeValue struct {
	mode  *Mode
	given bool
}

func (v *modeValue) String() string {
	if v.mode == nil {
		return ""
	}
	return string(*v.mode)
}

func (v *modeValue) Set(text string) error {
	if text == "" {
		text = string(ModeIPTables)
	}
	if v.given && text != string(*v.mode) {
		return fmt.Errorf("%s and %s are both given; give one mode", *v.mode, text)
	}
	*v.mode, v.given = Mode(text), true
	return nil
}

func (v *modeValue) Type() string { return "string" }

func (m Mode) validate(f *findings) {
	if m == "nftables" {
		f.add("proxy-mode", "Fairlead has no mode %q yet; give one of %s", m, oneOf(Modes))
		return
	}
	oneFrom(f, "proxy-mode", m, Modes)
}
