package source

import (
	"time"

	"k8s.io/client-go/tools/cache"
)

// disbelief is how long a list is not believed that lacks most of what there was: long enough to restore a control plane that has
// lost its data, or to take back the wrong one.
const disbelief = 2 * time.Minute

// miss takes in that a list has no more objects than these. That some are gone is usual: they went while the watch was broken. But where
// most are, it is more likely that an API server answers which has lost its data, or not read it yet, and whoever believed it would
// take all Services off the node. Then they are held for a while; if they come back, nothing has happened.
func (f *feed) miss(listed map[cache.ObjectName]struct{}) {
	var missing []cache.ObjectName
	for name := range f.names {
		if _, is := listed[name]; !is {
			missing = append(missing, name)
		}
	}
	if f.doubt == nil && 2*len(missing) <= len(f.names) {
		for _, name := range missing {
			f.drop(name)
		}
		return
	}
	for _, name := range missing {
		f.held[name] = struct{}{}
	}
	if f.doubt == nil {
		f.doubt = time.AfterFunc(disbelief, func() { f.locked(f.believe) })
		f.logger.Info("The API server lacks most of what it had; the rules stay for now, in case it comes back",
			"resource", f.resource, "missing", len(missing), "of", len(f.names), "until", time.Now().Add(disbelief).Format(time.TimeOnly))
	}
}

// back notes that an object is there.
func (f *feed) back(name cache.ObjectName) {
	if _, was := f.held[name]; !was {
		return
	}
	delete(f.held, name)
	if len(f.held) == 0 {
		f.stopDoubt()
		f.logger.Info("The API server has all objects again", "resource", f.resource)
	}
}

// believe lets go of what is held.
func (f *feed) believe() {
	if f.doubt == nil {
		return // all came back, or the end did, just now
	}
	f.doubt = nil
	f.logger.Info("The API server still lacks them; they are taken for deleted", "resource", f.resource, "missing", len(f.held))
	for name := range f.held {
		f.drop(name)
	}
}

func (f *feed) stopDoubt() {
	if f.doubt != nil {
		f.doubt.Stop()
		f.doubt = nil
	}
}
