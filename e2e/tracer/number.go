package tracer

import (
	"fmt"
	"strconv"
	"strings"
)

// parseNumber reads an unsigned number as C does: 0x for hexadecimal, a
// leading 0 for octal.
func parseNumber(s string, bits int) (uint64, error) {
	base, digits := 10, s
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		base, digits = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, digits = 8, s[1:]
	}
	n, err := strconv.ParseUint(digits, base, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of %d bits", s, bits)
	}
	return n, nil
}

// parseMarkMask reads VALUE[/MASK]; without a mask all bits count.
func parseMarkMask(s string) (value, mask uint32, err error) {
	first, second, masked := strings.Cut(s, "/")
	v, err := parseNumber(first, 32)
	if err != nil {
		return 0, 0, err
	}
	m := uint64(allBits)
	if masked {
		if m, err = parseNumber(second, 32); err != nil {
			return 0, 0, err
		}
	}
	return uint32(v), uint32(m), nil
}

const allBits = 0xffffffff

// portRange is a span of ports, both ends included.
type portRange struct{ low, high uint16 }

func (r portRange) contains(port uint16) bool { return r.low <= port && port <= r.high }

func (r portRange) String() string {
	if r.low == r.high {
		return strconv.Itoa(int(r.low))
	}
	return fmt.Sprintf("%d:%d", r.low, r.high)
}

// parsePortRange reads PORT or LOW:HIGH, where a missing end is the least or
// the greatest port there is.
func parsePortRange(s string) (portRange, error) {
	low, high, ranged := strings.Cut(s, ":")
	if ranged && low == "" {
		low = "0"
	}
	if ranged && high == "" {
		high = "65535"
	}
	if !ranged {
		high = low
	}
	l, err := parseNumber(low, 16)
	if err != nil {
		return portRange{}, fmt.Errorf("port: %w", err)
	}
	h, err := parseNumber(high, 16)
	if err != nil {
		return portRange{}, fmt.Errorf("port: %w", err)
	}
	if l > h {
		return portRange{}, fmt.Errorf("port range %q runs backwards", s)
	}
	return portRange{uint16(l), uint16(h)}, nil
}
