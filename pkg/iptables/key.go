package iptables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/pkg/service"
)

// key places an entry in a tree: one byte for each three bits of what the entry matches, most significant first. It is an
// address, then a digit for the protocol, then six for the port, or the last two parts alone. Where a part is no multiple of
// three bits long, its first digit stands for fewer. With four bits a digit, a packet would be compared with a third more rules.
type key string

// digitBits is how many bits a digit stands for.
const digitBits = 3

// protocolDigits is how many digits of a key say the protocol.
const protocolDigits = 1

const portBits = 16

// digits is how many digits so many bits have.
func digits(bits int) int { return (bits + digitBits - 1) / digitBits }

// bitsOf is how many of so many bits the first few digits stand for.
func bitsOf(few, bits int) int { return max(0, bits-digitBits*(digits(bits)-few)) }

func addressKey(addr netip.Addr) key {
	raw := addr.AsSlice()
	k := make([]byte, digits(8*len(raw)))
	for n := range 8 * len(raw) {
		at := digits(8*len(raw)-n) - 1 // from the end
		k[len(k)-1-at] = k[len(k)-1-at]<<1 | raw[n/8]>>(7-n%8)&1
	}
	return key(k)
}

func portKey(protocol service.Protocol, port uint16) key {
	k := make([]byte, protocolDigits+digits(portBits))
	k[0] = byte(slices.Index(service.Protocols[:], protocol))
	for n := len(k) - 1; n >= protocolDigits; n-- {
		k[n] = byte(port & (1<<digitBits - 1))
		port >>= digitBits
	}
	return key(k)
}

// keyShape says which parts the keys of one tree have.
type keyShape struct {
	bits int    // of the address; 0: none
	flag string // what matches an address: "-d" or "-s"
}

func addressShape(f service.Family, flag string) keyShape { return keyShape{f.Bits(), flag} }

// match is the text that matches what begins with k, for a packet that is already known to match the first known digits.
func (s keyShape) match(k key, known int) string {
	var parts []string
	address := digits(s.bits)
	if known < min(len(k), address) {
		parts = append(parts, s.flag+" "+s.prefix(k))
	}
	if rest := len(k) - address; rest >= protocolDigits && len(k) > known {
		protocol := service.Protocols[k[address]].String()
		parts = append(parts, "-p "+protocol)
		if port := string(k[address+protocolDigits:]); port != "" {
			parts = append(parts, "-m "+protocol+" --dport "+portRange(port))
		}
	}
	return strings.Join(parts, " ")
}

// prefix writes the address part of k as iptables-save does.
func (s keyShape) prefix(k key) string {
	raw := make([]byte, s.bits/8)
	length := bitsOf(min(len(k), digits(s.bits)), s.bits)
	for n := range length {
		at := digits(s.bits) - digits(s.bits-n)
		end := bitsOf(at+1, s.bits)
		raw[n/8] |= k[at] >> (end - 1 - n) & 1 << (7 - n%8)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(addr, length).String()
}

// portRange writes the ports that begin with the given digits.
func portRange(first string) string {
	low := 0
	for i := range first {
		low = low<<digitBits | int(first[i])
	}
	open := portBits - bitsOf(len(first), portBits)
	low <<= open
	if open == 0 {
		return strconv.Itoa(low)
	}
	return strconv.Itoa(low) + ":" + strconv.Itoa(low|(1<<open-1))
}

// text is the key as digits that can be read.
func (k key) text() string {
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
