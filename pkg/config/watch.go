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
	// settle is how long a file must be unchanged before it is read: most programs write a file in several steps.
	settle = 200 * time.Millisecond
	// settleLimit is how long a read is deferred at most, in a folder that changes all the time.
	settleLimit = 2 * time.Second
	// pollPeriod is how often the file is read without an event. Some file systems send none, and the kernel's watches are limited.
	pollPeriod = time.Minute
)

// Watch reads the file of a command line again whenever it changes, until ctx ends, and sends the settings if they are valid and differ
// from the previous ones, which are initial at first. A file that is not valid is logged once, and the previous settings still apply. The
// channel is nil if there is no file. It holds the latest settings only.
func Watch(ctx context.Context, line *CommandLine, initial *Config) <-chan *Config {
	if line.File == "" {
		return nil
	}
	w := newWatch(ctx, line, initial)
	go w.run(ctx)
	return w.changes
}

func newWatch(ctx context.Context, line *CommandLine, initial *Config) *watch {
	return &watch{
		line: line, logger: klog.FromContext(ctx).WithValues("file", line.File), latest: initial, content: line.content,
		changes: make(chan *Config, 1), afterRead: func(*watch) {},
	}
}

type watch struct {
	line    *CommandLine
	logger  klog.Logger
	latest  *Config // what was sent last
	content []byte  // of the file when it was last read; nil: it did not exist
	invalid bool    // the file was not valid when it was last read
	changes chan *Config

	afterRead func(*watch) // for tests
}

func (w *watch) run(ctx context.Context) {
	notifier, err := fsnotify.NewWatcher()
	if err != nil {
		w.logger.Info("Cannot watch the configuration file, polling it", "period", pollPeriod, "reason", err)
		notifier = &fsnotify.Watcher{} // sends nothing
	} else {
		defer notifier.Close()
		w.follow(notifier)
	}
	quiet := time.NewTimer(settle) // for changes between Load and follow
	defer quiet.Stop()
	var limit time.Time // of the deferred read; zero: none is pending
	deferRead := func() {
		if limit.IsZero() {
			limit = time.Now().Add(settleLimit)
		}
		quiet.Reset(min(settle, max(0, time.Until(limit))))
	}
	poll := time.NewTicker(pollPeriod)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-notifier.Events:
			deferRead()
		case err := <-notifier.Errors: // usually an overflow: events are lost
			w.logger.V(2).Info("Error from the watch of the configuration file, reading it", "reason", err)
			deferRead()
		case <-poll.C:
			deferRead()
		case <-quiet.C:
			limit = time.Time{}
			if err == nil {
				w.follow(notifier) // before reading: a change in a new folder in between is read now
			}
			w.read()
			w.afterRead(w)
		}
	}
}

// follow watches every folder on the path of symbolic links to the file. The file of a ConfigMap is a link through a link to a folder,
// and the kubelet replaces that second link.
func (w *watch) follow(notifier *fsnotify.Watcher) {
	path, err := filepath.Abs(w.line.File)
	for range 16 { // links can be circular
		if err != nil {
			break
		}
		if err := notifier.Add(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.logger.V(2).Info("Cannot watch a folder of the configuration file", "folder", filepath.Dir(path), "reason", err)
		}
		var target string
		if target, err = os.Readlink(path); err == nil && !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	if target, err := filepath.EvalSymlinks(w.line.File); err == nil {
		_ = notifier.Add(filepath.Dir(target)) // an error has been logged above
	}
}

// read reads the file and sends the settings if they have changed.
func (w *watch) read() {
	data, err := os.ReadFile(w.line.File)
	if err == nil && w.content != nil && bytes.Equal(data, w.content) || err != nil && w.content == nil && w.invalid {
		return
	}
	c, err := w.line.Load(w.logger)
	w.content = w.line.content
	if err != nil {
		w.invalid = true
		w.logger.Error(err, "Cannot use the changed configuration, keeping the previous one")
		return
	}
	if w.invalid {
		w.invalid = false
		w.logger.Info("The configuration is valid again")
	}
	changed := differing(w.latest, c)
	if len(changed) == 0 {
		return
	}
	names := make([]string, len(changed))
	for i, s := range changed {
		names[i] = c.Named(s.flag)
	}
	w.logger.Info("The configuration has changed", "settings", names)
	w.latest = c
	select {
	case <-w.changes: // not received yet, and outdated now
	default:
	}
	w.changes <- c
}
