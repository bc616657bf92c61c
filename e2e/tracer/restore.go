package tracer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// LineError is the failure of Restore or Parse at one line.
type LineError struct {
	Line int    // counted from 1
	Text string // the line without its end
	Err  error
}

// Error names the line, its text and what is wrong with it.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %q: %v", e.Line, e.Text, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// maxLine is the longest line, with its end, iptables-restore has room for.
const maxLine = 10239

// Restore applies text as "iptables-restore --noflush" does. A table changes
// at its COMMIT and then all at once; after an error the table at hand and the
// later ones are as they were, while earlier COMMITs stand. A table may come
// up more than once.
//
// A line ":CHAIN - [0:0]" makes the chain, or flushes it if it is there; for a
// built-in chain it sets the policy and leaves the rules alone. The commands
// are -A, -I, -D, -F, -X, -N, -P and -Z.
//
// As iptables-legacy-restore, it wants the last line to end with a newline.
func (rs *Ruleset) Restore(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine)
	s := &session{rs: rs}
	for line := 1; ; line++ {
		text, err := readLine(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = s.line(text)
		}
		if err != nil {
			return &LineError{Line: line, Text: strings.TrimSuffix(text, "\n"), Err: err}
		}
		s.lines = line
	}
	if s.draft != nil {
		return &LineError{Line: s.lines + 1, Err: fmt.Errorf("table %s ends without COMMIT", s.draft.name)}
	}
	return nil
}

// readLine returns a line with its newline, which the very last may lack.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	text := string(line)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return text[:80], errors.New("line is too long")
	case err == io.EOF && text == "":
		return "", io.EOF
	case err != nil && err != io.EOF:
		return text, fmt.Errorf("reading: %w", err)
	case strings.IndexByte(text, 0) >= 0:
		return text, errors.New("line has a zero byte")
	}
	return text, nil
}

// session is one Restore under way. draft is nil outside of a table.
type session struct {
	rs    *Ruleset
	draft *draft
	lines int
}

func (s *session) line(text string) error {
	bare := strings.TrimSuffix(text, "\n")
	switch {
	case bare == "" || bare[0] == '#':
		return nil
	case s.draft == nil && bare[0] == '*':
		return s.begin(bare[1:])
	case s.draft == nil:
		return errors.New("line is outside of a table")
	case text == "COMMIT\n":
		return s.commit()
	case bare == "COMMIT":
		return errors.New("COMMIT is not followed by a newline")
	case bare[0] == ':':
		return s.draft.declare(bare[1:])
	}
	return s.draft.command(bare)
}

func (s *session) begin(rest string) error {
	words := strings.Fields(rest)
	if len(words) != 1 {
		return errors.New("want one table name after *")
	}
	name := words[0]
	if _, known := builtinChains[name]; !known {
		return fmt.Errorf("there is no table %s", name)
	}
	t, ok := s.rs.tables[name]
	if !ok {
		t = newTable(name)
	}
	s.draft = newDraft(t, s.rs.family)
	return nil
}

// commit puts the draft in place of its table if the kernel would take it.
func (s *session) commit() error {
	if err := s.draft.validate(); err != nil {
		return err
	}
	done := s.draft.table
	s.rs.tables[done.name] = &done
	s.rs.family = s.draft.family
	s.draft = nil
	return nil
}
