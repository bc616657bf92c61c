package tracer

import (
	"errors"
	"fmt"
)

// logWarning is the level that iptables-save does not write.
const logWarning = 4

var logLevels = map[string]uint64{
	"emerg": 0, "panic": 0, "alert": 1, "crit": 2, "error": 3, "err": 3,
	"warning": 4, "warn": 4, "notice": 5, "info": 6, "debug": 7,
}

// logTarget is -j LOG; the packet goes on.
type logTarget struct {
	prefix                                       string
	level                                        uint64
	sequence, tcpOptions, ipOptions, uid, macdec bool
}

func (t *logTarget) name() string { return "LOG" }

func (t *logTarget) options(*ruleEnv) []option {
	return []option{
		opt("--log-prefix", 1, func(_ bool, values []string) error {
			t.prefix = values[0]
			if n := len(t.prefix); n == 0 || n > 29 {
				return errors.New("the prefix must have 1 to 29 bytes")
			}
			return nil
		}),
		opt("--log-level", 1, func(_ bool, values []string) error {
			level, known := logLevels[values[0]]
			var err error
			if !known {
				level, err = parseNumber(values[0], 8)
			}
			if t.level = level; level > 7 {
				return fmt.Errorf("%q is not a level", values[0])
			}
			return err
		}),
		flag("--log-tcp-sequence", &t.sequence),
		flag("--log-tcp-options", &t.tcpOptions),
		flag("--log-ip-options", &t.ipOptions),
		flag("--log-uid", &t.uid),
		flag("--log-macdecode", &t.macdec),
	}
}

func (t *logTarget) check(*rule) error { return nil }

func (t *logTarget) apply(*walk, *flight) (verdict, error) { return verdictNext, nil }

func (t *logTarget) text(family) string {
	text := ""
	if t.prefix != "" {
		text += " --log-prefix " + quoteWord(t.prefix)
	}
	if t.level != logWarning {
		text += fmt.Sprintf(" --log-level %d", t.level)
	}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{t.sequence, "--log-tcp-sequence"}, {t.tcpOptions, "--log-tcp-options"},
		{t.ipOptions, "--log-ip-options"}, {t.uid, "--log-uid"}, {t.macdec, "--log-macdecode"},
	} {
		if f.set {
			text += " " + f.name
		}
	}
	return text
}
