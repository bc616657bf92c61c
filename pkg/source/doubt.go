package source

import (
	"time"

	"k8s.io/client-go/tools/cache"
)

// disbelief is how long an object is kept that a list lacks which lacks most of what there was: long enough to restore a control plane that
// has lost its data, or to take back the wrong one.
const disbelief = 2 * time.Minute

// miss takes in that a list has no more objects than these. A few may be missing because they were deleted while the watch was broken.
// But if most are missing, it is more likely that the API server has lost its data or has not read it yet, and believing it would remove
// all Services from the node. Then they are held for a while; if they come back, nothing has happened. While any are held, everything
// that a further list lacks is held too, each object for the whole time: an API server that is being restored may list more and less
// several times.
func (f *feed) miss(listed map[cache.ObjectName]struct{}) {
	var missing []cache.ObjectName
	for name := range f.names {
		if _, ok := listed[name]; !ok {
			missing = append(missing, name)
		}
	}
	inDoubt := len(f.held) > 0
	if !inDoubt && 2*len(missing) <= len(f.names) {
		for _, name := range missing {
			f.drop(name)
		}
		return
	}
	until := time.Now().Add(disbelief)
	for _, name := range missing {
		if _, ok := f.held[name]; !ok {
			f.held[name] = until
		}
	}
	if !inDoubt {
		f.logger.Info("The API server lacks most of what it had; the rules stay for now, in case it comes back",
			"resource", f.resource, "missing", len(missing), "of", len(f.names), "until", until.Format(time.TimeOnly))
	}
	f.await()
}

// await sets the timer for the object that has been held longest, or stops it if none is held.
func (f *feed) await() {
	f.stopDoubt()
	var next time.Time
	for _, until := range f.held {
		if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	if !next.IsZero() {
		f.doubt = time.AfterFunc(time.Until(next), func() { f.locked(f.believe) })
	}
}

// back notes that an object exists.
func (f *feed) back(name cache.ObjectName) {
	if _, ok := f.held[name]; !ok {
		return
	}
	delete(f.held, name)
	if len(f.held) == 0 {
		f.stopDoubt()
		f.logger.Info("The API server has all objects again", "resource", f.resource)
	}
}

// believe drops what has been held for the whole time.
func (f *feed) believe() {
	if f.doubt == nil {
		return // this timer fired while it was stopped
	}
	var gone []cache.ObjectName
	for name, until := range f.held {
		if !until.After(time.Now()) {
			gone = append(gone, name)
		}
	}
	if len(gone) > 0 {
		f.logger.Info("The API server still lacks them; they are taken for deleted", "resource", f.resource, "missing", len(gone))
	}
	for _, name := range gone {
		f.drop(name)
	}
	f.await()
}

func (f *feed) stopDoubt() {
	if f.doubt != nil {
		f.doubt.Stop()
		f.doubt = nil
	}
}
