package tracer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// statisticMatch is -m statistic. It always "matches"; how often it does is
// in the chance of its rule.
type statisticMatch struct {
	mode     string
	inverted bool
	share    uint32 // mode random: out of shareUnit
	given    uint8  // which of the options came
	every    uint32
	packet   uint32
}

// shareUnit is the kernel's unit of probability.
const shareUnit = 1 << 31

const (
	gaveProbability = 1 << iota
	gaveEvery
	gavePacket
)

func (m *statisticMatch) name() string { return "statistic" }

func (m *statisticMatch) options(*ruleEnv) []option {
	return []option{
		opt("--mode", 1, func(_ bool, values []string) error {
			m.mode = values[0]
			if m.mode != "random" && m.mode != "nth" {
				return fmt.Errorf("unknown mode %q", m.mode)
			}
			return nil
		}),
		invertibleOpt("--probability", 1, m.readProbability),
		invertibleOpt("--every", 1, func(inverted bool, values []string) error {
			n, err := parseNumber(values[0], 32)
			m.every, m.inverted = uint32(n), inverted
			m.given |= gaveEvery
			if err == nil && n == 0 {
				return errors.New("must not be 0")
			}
			return err
		}),
		opt("--packet", 1, func(_ bool, values []string) error {
			n, err := parseNumber(values[0], 32)
			m.packet = uint32(n)
			m.given |= gavePacket
			return err
		}),
	}
}

func (m *statisticMatch) readProbability(inverted bool, values []string) error {
	p, err := strconv.ParseFloat(values[0], 64)
	if err != nil || math.IsNaN(p) || p < 0 || p > 1 {
		return fmt.Errorf("%q is not a probability", values[0])
	}
	// The kernel knows probabilities only as whole parts of shareUnit.
	m.share, m.inverted = uint32(math.Round(p*shareUnit)), inverted
	m.given |= gaveProbability
	return nil
}

func (m *statisticMatch) check(r *rule) error {
	var p float64
	switch {
	case m.mode == "random" && m.given == gaveProbability:
		p = float64(m.share) / shareUnit
	case m.mode == "nth" && m.given == gaveEvery|gavePacket:
		if m.packet >= m.every {
			return errors.New("--packet must be less than --every")
		}
		p = 1 / float64(m.every)
	case m.mode == "":
		return errors.New("--mode is missing")
	default:
		return fmt.Errorf("mode %s wants other options", m.mode)
	}
	if m.inverted {
		p = 1 - p
	}
	r.chance *= p
	return nil
}

func (m *statisticMatch) matches(*walk, *flight) bool { return true }

func (m *statisticMatch) text(family) string {
	if m.mode == "random" {
		p := strconv.FormatFloat(float64(m.share)/shareUnit, 'f', 11, 64)
		return " --mode random" + optionText(m.inverted, "--probability", p)
	}
	return " --mode nth" + optionText(m.inverted, "--every", fmt.Sprint(m.every)) +
		fmt.Sprintf(" --packet %d", m.packet)
}
