package site

import (
	"bytes"
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

// Stamp is the time now, in the format of the lines of Fairlead's log. Stamps are compared as text. As a line may arrive late, its stamp
// tells whether it was logged before or after what a test does.
func Stamp() string { return time.Now().Format("0102 15:04:05.000000") }
