package fairlead

import "github.com/fairlead/fairlead/pkg/config"

// Option is something that Run does beside what its configuration says.
type Option func(*options)

type options struct {
	changes <-chan *config.Config
	tell    func(reason, message string)
}

// WithChanges has Run take up new settings as they come, which have to be valid. The mode and the sync periods of the modes change while
// traffic goes on; with a new mode come the settings of that mode. All others are taken up by a restart.
func WithChanges(changes <-chan *config.Config) Option {
	return func(o *options) { o.changes = changes }
}

// WithNodeEvents has Run tell what concerns the node as a whole, by a reason, which is one of package source's, and a message for people.
// What is told must not block.
func WithNodeEvents(tell func(reason, message string)) Option {
	return func(o *options) {
		if tell != nil {
			o.tell = tell
		}
	}
}

func newOptions(list []Option) *options {
	o := &options{tell: func(string, string) {}}
	for _, option := range list {
		option(o)
	}
	return o
}
