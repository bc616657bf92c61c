package node

import (
	"time"

	"k8s.io/klog/v2"
)

// The first and the longest wait between attempts. Following has to go well for the longest before it counts as working:
// otherwise a socket that opens and then fails at once would be logged over and over.
const (
	fastestRetry = 100 * time.Millisecond
	slowestRetry = 10 * time.Second
)

// trouble is how the watcher fares. It logs the beginning and the end, not each attempt between them.
type trouble struct {
	logger klog.Logger
	wait   time.Duration // before the next attempt; 0: all is well
}

// met takes note of an error and returns how long to wait before the next attempt.
func (t *trouble) met(err error) time.Duration {
	if t.wait == 0 {
		t.logger.Error(err, "Cannot follow the addresses of the node; node ports stay on those known so far, and it is tried again until it works")
		t.wait = fastestRetry
	} else {
		t.wait = min(2*t.wait, slowestRetry)
	}
	return t.wait
}

// over takes note that it works.
func (t *trouble) over() {
	if t.wait > 0 {
		t.logger.Info("Following the addresses of the node again")
	}
	t.wait = 0
}
