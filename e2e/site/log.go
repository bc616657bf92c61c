package site

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Log collects what a program says.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was said.
func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count is how often a text was said.
func (b *Log) Count(text string) int { return strings.Count(b.String(), text) }

// header begins an entry of Fairlead's log: severity, date and time. The lines of a long value follow, indented.
var header = regexp.MustCompile(`(?m)^[IWEF]\d{4} `)

// CountErrors is how many errors were logged that have a text in them. An event that repeats the text of an error is none: without an API
// server, events are logged as information.
func (b *Log) CountErrors(text string) int {
	log, n := b.String(), 0
	starts := header.FindAllStringIndex(log, -1)
	for i, start := range starts {
		end := len(log)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if entry := log[start[0]:end]; entry[0] == 'E' && strings.Contains(entry, text) {
			n++
		}
	}
	return n
}

// Stamp is the time now, in the format of the lines of Fairlead's log. Stamps are compared as text. As a line may arrive late, its stamp
// tells whether it was logged before or after what a test does.
func Stamp() string { return time.Now().Format("0102 15:04:05.000000") }
