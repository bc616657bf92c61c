package config

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

const (
	// settle is how long a file has to stay as it is before it is read: most programs write it in more than one go.
	settle = 200 * time.Millisecond
	// unsettled is how long it is waited for that at most, in a folder where something changes all the time.
	unsettled = 2 * time.Second
	// glance is how often the file is looked at without being told of a change. Some file systems tell nothing, and the kernel may be
	// out of watches.
	glance = time.Minute
)

// Watch reads the file of a command line again whenever it changes, until ctx ends, and hands over the settings if they are valid and
// not what they were. was is what holds at first. A file that cannot be used is logged once, and what held before still holds. The
// channel is nil where there is no file. It holds the latest settings; those that nobody has taken by then are out of date.
func Watch(ctx context.Context, line *CommandLine, was *Config) <-chan *Config {
	if line.File == "" {
		return nil
	}
	w := &watch{line: line, logger: klog.FromContext(ctx).WithValues("file", line.File), holds: was, content: line.content, changes: make(chan *Config, 1)}
	go w.run(ctx)
	return w.changes
}

type watch struct {
	line    *CommandLine
	logger  klog.Logger
	holds   *Config // what was handed over last
	content []byte  // what the file had when it was read last; nil: it was not there
	broken  bool    // what the file had when it was read last was of no use
	changes chan *Config
}

func (w *watch) run(ctx context.Context) {
	notifier, err := fsnotify.NewWatcher()
	if err != nil {
		w.logger.Info("The kernel cannot tell of changes of the configuration; looking for them from time to time", "every", glance, "reason", err)
		notifier = &fsnotify.Watcher{} // never tells anything
	} else {
		defer notifier.Close()
		w.follow(notifier)
	}
	quiet := time.NewTimer(settle) // what came between the first reading and now is not told
	defer quiet.Stop()
	var latest time.Time // when it is to be read, whatever else changes
	soon := func() {
		if latest.IsZero() {
			latest = time.Now().Add(unsettled)
		}
		quiet.Reset(min(settle, max(0, time.Until(latest))))
	}
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-notifier.Events:
			soon()
		case err := <-notifier.Errors: // some were lost, at worst
			w.logger.V(2).Info("The kernel has lost changes of the configuration", "reason", err)
			soon()
		case <-tick.C:
			soon()
		case <-quiet.C:
			latest = time.Time{}
			w.read()
			if err == nil {
				w.follow(notifier)
			}
		}
	}
}

// follow asks to be told of changes in every folder that the file is reached through. A ConfigMap's file is a link to one in a folder
// that is a link too, and that link is what is replaced.
func (w *watch) follow(notifier *fsnotify.Watcher) {
	path, err := filepath.Abs(w.line.File)
	for range 16 { // a circle of links has no end
		if err != nil {
			break
		}
		if err := notifier.Add(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.logger.V(2).Info("The kernel cannot tell of all changes of the configuration", "folder", filepath.Dir(path), "reason", err)
		}
		var target string
		if target, err = os.Readlink(path); err == nil && !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	if target, err := filepath.EvalSymlinks(w.line.File); err == nil {
		_ = notifier.Add(filepath.Dir(target)) // what fails here has failed above
	}
}

// read looks at the file, and hands over the settings if there are new ones.
func (w *watch) read() {
	data, err := os.ReadFile(w.line.File)
	if err == nil && w.content != nil && bytes.Equal(data, w.content) || err != nil && w.content == nil && w.broken {
		return
	}
	c, err := w.line.Load(w.logger)
	w.content = w.line.content
	if err != nil {
		w.broken = true
		w.logger.Error(err, "Cannot use the changed configuration; what held before still holds")
		return
	}
	if w.broken {
		w.broken = false
		w.logger.Info("The configuration can be used again")
	}
	changed := differing(w.holds, c)
	if len(changed) == 0 {
		return
	}
	names := make([]string, len(changed))
	for i, s := range changed {
		names[i] = c.Named(s.flag)
	}
	w.logger.Info("The configuration has changed", "settings", names)
	w.holds = c
	select {
	case <-w.changes: // nobody has taken it
	default:
	}
	w.changes <- c
}
