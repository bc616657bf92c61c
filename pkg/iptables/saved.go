package iptables

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// saved is what of ours the kernel holds.
type saved struct {
	chains map[string]checksums // by table
	jumps  []jump               // every rule in a built-in chain that leads to one of our chains
}

// checksums has the checksum of each chain of one table, by name.
type checksums map[string]checksum

// readSaved reads the output of iptables-save. What is not ours it passes over, whatever it looks like.
func readSaved(r io.Reader) (*saved, error) {
	s := &saved{chains: map[string]checksums{"nat": {}, "filter": {}}}
	var table string
	var chains checksums
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case bytes.HasPrefix(line, []byte("*")):
			table = string(line[1:])
			if s.chains[table] == nil {
				s.chains[table] = checksums{}
			}
			chains = s.chains[table]
		case bytes.HasPrefix(line, []byte(":FL-")):
			name, _, _ := strings.Cut(string(line[1:]), " ")
			if ours.MatchString(name) && chains != nil {
				chains[name] = empty
			}
		case bytes.HasPrefix(line, []byte("-A ")) && chains != nil:
			s.addRule(table, chains, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what iptables-save prints: %w", err)
	}
	return s, nil
}

func (s *saved) addRule(table string, chains checksums, line []byte) {
	name, rest, _ := bytes.Cut(line[len("-A "):], []byte(" "))
	if sum, known := chains[string(name)]; known {
		chains[string(name)] = sum.then(line)
		return
	}
	if bytes.HasPrefix(name, []byte("FL-")) || !bytes.Contains(rest, []byte("-j FL-")) {
		return
	}
	match, to, _ := strings.Cut(string(rest), "-j ")
	if _, known := chains[to]; known {
		s.jumps = append(s.jumps, jump{table: table, from: string(name), match: strings.Fields(match), to: to})
	}
}

// hasJump reports whether the kernel has a jump just as we write it.
func (s *saved) hasJump(j jump) bool {
	for _, have := range s.jumps {
		if have.table == j.table && have.line() == j.line() {
			return true
		}
	}
	return false
}
