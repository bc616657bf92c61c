package xtables

import (
	"bytes"
	"strconv"
	"strings"
)

// packets follows how many packets the rules of some chains have matched. The kernel's counters outlive this process, and begin at zero
// where a chain is written again.
type packets struct {
	last map[string]uint64 // by chain, as last read; nil: not read yet
	more map[string]uint64 // since the last call of Packets; nil: not read since then
}

// read takes in what the kernel says. What it had counted before the first reading is not this process's.
func (p *packets) read(now map[string]uint64) {
	if p.more == nil {
		p.more = map[string]uint64{}
	}
	if now == nil {
		now = map[string]uint64{}
	}
	for chain, n := range now {
		before, known := p.last[chain]
		switch {
		case p.last == nil || known && n == before:
		case known && n > before:
			p.more[chain] += n - before
		case n > 0: // the chain is new, or has been written again
			p.more[chain] += n
		}
	}
	p.last = now
}

// Packets returns how many packets the first rule of each counted chain (see Owner.Counted) has matched since the last call, for those
// that have matched any. It returns nil if the kernel has not been read since.
func (r *Ruleset) Packets() map[string]uint64 {
	more := r.packets.more
	r.packets.more = nil
	return more
}

// cutCounters takes the counters off a line of iptables-save -c, and returns the packets: "[7:420] -A CHAIN ...".
func cutCounters(line []byte) (rule []byte, packets uint64) {
	counters, rule, ok := bytes.Cut(line, []byte("] "))
	if !ok || len(counters) == 0 || counters[0] != '[' {
		return line, 0
	}
	number, _, _ := strings.Cut(string(counters[1:]), ":")
	packets, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return line, 0
	}
	return rule, packets
}

// count takes in the packets of a rule, if its chain is a counted one and this its first rule.
func (r *reader) count(rule []byte, packets uint64) {
	name, _, _ := bytes.Cut(bytes.TrimPrefix(rule, []byte("-A ")), []byte(" "))
	if sum, ours := r.chains[string(name)]; !ours || sum != empty || r.owner.Counted == "" || !bytes.HasPrefix(name, []byte(r.owner.Counted)) {
		return
	}
	if r.saved.packets == nil {
		r.saved.packets = map[string]uint64{}
	}
	r.saved.packets[string(name)] = packets
}
