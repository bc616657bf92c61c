package proxier

import (
	"cmp"
	"sync"
	"time"
)

// lag knows since when changes wait to be written. Its times have a monotonic clock reading: the wall clock of a node may jump.
type lag struct {
	mu    sync.Mutex
	seen  time.Time // of the oldest change since the last build; zero: there is none
	built time.Time // of the oldest change in a Table that has not been written; zero: there is none
}

// changed notes a change, or a sync that has to be repeated.
func (l *lag) changed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen.IsZero() {
		l.seen = time.Now()
	}
}

// taken says that all changes so far are part of the Table that is written next.
func (l *lag) taken() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.built, l.seen = cmp.Or(l.built, l.seen), time.Time{}
}

// written says that the Table is in the kernel. A change that came meanwhile still waits.
func (l *lag) written() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.built = time.Time{}
}

// oldest returns when the oldest change was noted that waits, or zero if none does.
func (l *lag) oldest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.built, l.seen)
}
