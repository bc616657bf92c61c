package iptables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// key places an entry in a tree: one byte for each four bits of what the entry matches, most significant first. It is an
// address, then a digit for the protocol, then four for the port, or the last two parts alone.
type key string

// digits of a key's parts.
const (
	protocolDigits = 1
	portDigits     = 4
)

func addressKey(addr netip.Addr) key {
	raw := addr.AsSlice()
	k := make([]byte, 0, 2*len(raw))
	for _, b := range raw {
		k = append(k, b>>4, b&15)
	}
	return key(k)
}

func portKey(protocol service.Protocol, port uint16) key {
	p := byte(slices.Index(service.Protocols[:], protocol))
	return key([]byte{p, byte(port >> 12), byte(port >> 8 & 15), byte(port >> 4 & 15), byte(port & 15)})
}

// keyShape says which parts the keys of one tree have.
type keyShape struct {
	address int    // digits of the address; 0: none
	flag    string // what matches an address: "-d" or "-s"
}

func addressShape(f service.Family, flag string) keyShape { return keyShape{f.Bits() / 4, flag} }

// match is the text that matches what begins with k, for a packet that is already known to match the first known digits.
func (s keyShape) match(k key, known int) string {
	var parts []string
	if known < min(len(k), s.address) {
		parts = append(parts, s.flag+" "+s.prefix(k))
	}
	if rest := len(k) - s.address; rest >= protocolDigits && len(k) > known {
		protocol := service.Protocols[k[s.address]].String()
		parts = append(parts, "-p "+protocol)
		if port := string(k[s.address+protocolDigits:]); port != "" {
			parts = append(parts, "-m "+protocol+" --dport "+portRange(port))
		}
	}
	return strings.Join(parts, " ")
}

// prefix writes the address part of k as iptables-save does.
func (s keyShape) prefix(k key) string {
	raw := make([]byte, s.address/2)
	digits := min(len(k), s.address)
	for i := range digits {
		raw[i/2] |= k[i] << (4 * (1 - i%2))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(addr, 4*digits).String()
}

// portRange writes the ports that begin with the given digits.
func portRange(digits string) string {
	first := 0
	for i := range digits {
		first = first<<4 | int(digits[i])
	}
	open := 4 * (portDigits - len(digits))
	first <<= open
	if open == 0 {
		return strconv.Itoa(first)
	}
	return strconv.Itoa(first) + ":" + strconv.Itoa(first|(1<<open-1))
}

// hex is the key as hexadecimal digits.
func (k key) hex() string {
	const digits = "0123456789abcdef"
	text := make([]byte, len(k))
	for i := range len(k) {
		text[i] = digits[k[i]]
	}
	return string(text)
}

// common returns how many digits all keys between two sorted ones share.
func common(first, last key) int {
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	return n
}
