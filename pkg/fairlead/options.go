package fairlead

import (
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/pkg/config"
)

// Option is an option of Run that is not part of the configuration.
type Option func(*options)

type options struct {
	changes <-chan *config.Config
	notify  func(reason, message string)
	flags   map[string]string
}

// WithChanges makes Run apply changed settings, which must be valid. The mode and the sync periods change without a restart, and with the
// mode the settings of that mode. Run logs the names of all other settings that differ, which only apply after a restart.
func WithChanges(changes <-chan *config.Config) Option {
	return func(o *options) { o.changes = changes }
}

// WithNodeEvents makes Run call a function with each event about the node: its reason, which is one of package source's, and a message.
// The function must not block.
func WithNodeEvents(notify func(reason, message string)) Option {
	return func(o *options) {
		if notify != nil {
			o.notify = notify
		}
	}
}

// WithFlags makes Run serve flags at /flagz of the metrics server, with the values that they have when WithFlags is called.
func WithFlags(flags *pflag.FlagSet) Option {
	values := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) { values[f.Name] = f.Value.String() })
	return func(o *options) { o.flags = values }
}

func newOptions(list []Option) *options {
	o := &options{notify: func(string, string) {}}
	for _, option := range list {
		option(o)
	}
	return o
}
