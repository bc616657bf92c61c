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

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// watched is a file under watch.
type watched struct {
	*testing.T
	path    string
	changes <-chan *Config
	reads   chan string   // the content of the file at each read
	ended   chan struct{} // closed when the watch has ended
	log     func() string
	end     context.CancelFunc
}

// newWatched loads a file and watches it.
func newWatched(t *testing.T, path string) *watched {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx, end := context.WithCancel(klog.NewContext(t.Context(), logger))
	line := newLine(t, "--config="+path)
	c, err := line.Load(logger)
	if err != nil {
		t.Fatal(err)
	}
	file := newWatch(ctx, line, c)
	w := &watched{
		T: t, path: path, end: end, log: logger.GetSink().(ktesting.Underlier).GetBuffer().String,
		changes: file.changes, reads: make(chan string, 1000), ended: make(chan struct{}),
	}
	file.afterRead = func(file *watch) { w.reads <- string(file.content) }
	go func() {
		defer close(w.ended)
		file.run(ctx)
	}()
	t.Cleanup(func() {
		end()
		<-w.ended
	})
	return w
}

// ignores waits until the watch has read a content, and expects that no settings came.
func (w *watched) ignores(content string) {
	w.Helper()
	timeout := time.After(patience)
	for {
		select {
		case read := <-w.reads:
			if read != content {
				continue
			}
		case <-timeout:
			w.Fatalf("not read; the log:\n%s", w.log())
		}
		break
	}
	select {
	case c := <-w.changes:
		w.Errorf("settings came, with %s", c.IPVS.Scheduler)
	default:
	}
}

// forget drops what has been read so far.
func (w *watched) forget() {
	for len(w.reads) > 0 {
		<-w.reads
	}
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

// says waits until the log has a text.
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
	same := "# the same in other words\n" + withScheduler("'wrr'") + "mode: ''\n"
	w.write(same)
	w.ignores(same)
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

// configMap creates a folder as the kubelet does for a ConfigMap, or replaces its content atomically.
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

func TestAnInvalidFileIsLoggedOnceAndChangesNothing(t *testing.T) {
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
			w.ignores(test.content)
			w.forget()
			w.write(test.content)
			w.ignores(test.content)
			if n := strings.Count(w.log(), "Cannot use the changed configuration"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, w.log())
			}
			w.write(withScheduler("rr"))
			w.ignores(withScheduler("rr"))
			w.says("The configuration is valid again")
			w.write(withScheduler("wrr"))
			w.expect("wrr")
		})
	}
}

func TestAMissingFileIsLoggedAndReadWhenItIsBack(t *testing.T) {
	t.Parallel()
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w.says("there is no file")
	w.ignores("")
	w.write(withScheduler("wrr"))
	w.expect("wrr")
}

func TestSettingsThatWereNotReceivedAreReplaced(t *testing.T) {
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

func TestNothingIsSentWithoutAFileOrAfterTheEnd(t *testing.T) {
	t.Parallel()
	if changes := Watch(t.Context(), newLine(t), Default()); changes != nil {
		t.Error("there is a channel without a file")
	}
	w := newWatched(t, writeFile(t, withScheduler("rr")))
	w.end()
	<-w.ended
	w.write(withScheduler("wrr"))
	if len(w.changes) > 0 {
		t.Error("settings came")
	}
}
