package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

// patience is how long a test waits for what has to come, and pause for what must not.
const (
	patience = time.Minute
	pause    = 4 * settle
)

// watched is a file under watch.
type watched struct {
	*testing.T
	path    string
	changes <-chan *Config
	log     func() string
	end     context.CancelFunc
}

// newWatched loads a file and watches it. path is how it is reached.
func newWatched(t *testing.T, path string) *watched {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx, end := context.WithCancel(klog.NewContext(t.Context(), logger))
	t.Cleanup(end)
	line := newLine(t, "--config="+path)
	c, err := line.Load(logger)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{T: t, path: path, end: end, log: logger.GetSink().(ktesting.Underlier).GetBuffer().String}
	w.changes = Watch(ctx, line, c)
	return w
}

func (w *watched) write(content string) {
	w.Helper()
	if err := os.WriteFile(w.path, []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
}

// scheduler waits for settings, and returns what tells them apart in these tests.
func (w *watched) scheduler() string {
	w.Helper()
	select {
	case c := <-w.changes:
		return c.IPVS.Scheduler
	case <-time.After(patience):
		w.Fatalf("no settings came; the log:\n%s", w.log())
		return ""
	}
}

func (w *watched) expect(scheduler string) {
	w.Helper()
	if got := w.scheduler(); got != scheduler {
		w.Errorf("got %s, want %s", got, scheduler)
	}
}

func (w *watched) expectNothing() {
	w.Helper()
	select {
	case c := <-w.changes:
		w.Errorf("settings came, with %s", c.IPVS.Scheduler)
	case <-time.After(pause):
	}
}

// says waits until something has been logged.
func (w *watched) says(text string) {
	w.Helper()
	for begin := time.Now(); !strings.Contains(w.log(), text); time.Sleep(settle / 10) {
		if time.Since(begin) > patience {
			w.Fatalf("%q is not in the log:\n%s", text, w.log())
		}
	}
}

func withScheduler(name string) string { return head + "ipvs: {scheduler: " + name + "}\n" }

func TestAChangedFileIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	w.write(withScheduler("wrr"))
	w.expect("wrr")
	w.write("# the same in other words\n" + withScheduler("'wrr'") + "mode: ''\n")
	w.expectNothing()
	w.write(withScheduler("lc"))
	w.expect("lc")
}

func TestAFileThatIsReplacedIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	for _, name := range []string{"wrr", "lc"} {
		other := filepath.Join(filepath.Dir(w.path), "other")
		if err := os.WriteFile(other, []byte(withScheduler(name)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, w.path); err != nil {
			t.Fatal(err)
		}
		w.expect(name)
	}
}

// configMap makes a folder as kubelet makes one of a ConfigMap, or changes what is in it, all at once.
func configMap(t *testing.T, dir, content string) {
	t.Helper()
	data, err := os.MkdirTemp(dir, "..version-")
	if err != nil {
		t.Fatal(err)
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	steps := []error{
		os.WriteFile(filepath.Join(data, "config.conf"), []byte(content), 0o600),
		os.Symlink(filepath.Base(data), filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
	}
	if old == "" {
		steps = append(steps, os.Symlink("..data/config.conf", filepath.Join(dir, "config.conf")))
	} else {
		steps = append(steps, os.RemoveAll(filepath.Join(dir, old)))
	}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAConfigMapThatChangesIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	configMap(t, dir, withScheduler("rr"))
	w := newWatched(t, filepath.Join(dir, "config.conf"))
	for _, name := range []string{"wrr", "lc", "rr"} {
		configMap(t, dir, withScheduler(name))
		w.expect(name)
	}
}

func TestALinkIntoAnotherFolderIsFollowed(t *testing.T) {
	t.Parallel()
	file := writeFile(t, withScheduler("rr"))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	w := newWatched(t, link)
	w.write(withScheduler("wrr"))
	w.expect("wrr")
}

func TestABrokenFileIsSaidOnceAndChangesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, content, says string }{
		{"not YAML", "mode: [", "neither YAML nor JSON"},
		{"a mode that there is not", head + "mode: userspace\n", "is not one of iptables, ipvs, auto"},
		{"a fault that matters in the new mode alone", head + "mode: ipvs\nipvs: {scheduler: fastest}\n", "fastest"},
		{"empty", "", "contains no KubeProxyConfiguration"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t, writeFile(t, withScheduler("rr")))
			w.write(test.content)
			w.says(test.says)
			w.write(test.content)
			w.expectNothing()
			if n := strings.Count(w.log(), "Cannot use the changed configuration"); n != 1 {
				t.Errorf("said %d times:\n%s", n, w.log())
			}
			w.write(withScheduler("rr"))
			w.says("The configuration is valid again")
			w.expectNothing()
			w.write(withScheduler("wrr"))
			w.expect("wrr")
		})
	}
}

func TestAFileThatIsGoneIsSaidAndAwaited(t *testing.T) {
	t.Parallel()
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w.says("there is no file")
	w.expectNothing()
	w.write(withScheduler("wrr"))
	w.expect("wrr")
}

func TestSettingsThatNobodyTookAreReplacedByNewerOnes(t *testing.T) {
	t.Parallel()
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	for _, name := range []string{"wrr", "lc"} {
		before := strings.Count(w.log(), "The configuration has changed")
		w.write(withScheduler(name))
		for begin := time.Now(); strings.Count(w.log(), "The configuration has changed") == before; time.Sleep(settle / 10) {
			if time.Since(begin) > patience {
				t.Fatalf("%s was not read", name)
			}
		}
	}
	for begin := time.Now(); w.scheduler() != "lc"; {
		if time.Since(begin) > patience {
			t.Fatal("the latest settings did not come")
		}
	}
}

func TestNothingIsWatchedWithoutAFileOrAfterTheEnd(t *testing.T) {
	t.Parallel()
	if changes := Watch(t.Context(), newLine(t), Default()); changes != nil {
		t.Error("there is a channel without a file")
	}
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	w.end()
	time.Sleep(settle) // it may be at work still
	w.write(withScheduler("wrr"))
	w.expectNothing()
}
