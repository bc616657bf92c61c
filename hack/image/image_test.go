// Package image tests the image that the Dockerfile makes, as build.sh makes it (`make test-image`; root). FAIRLEAD_IMAGE=FILE tests one
// that has been built already.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// most is how large the image may be, compressed.
const most = 60 << 20

// archive is the unpacked archive; root the image's files.
var archive, root string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	work, err := os.MkdirTemp("", "fairlead-image-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	archive, root = filepath.Join(work, "archive"), filepath.Join(work, "root")
	file := os.Getenv("FAIRLEAD_IMAGE")
	var steps []*exec.Cmd
	if file == "" {
		file = filepath.Join(work, "image.tar")
		steps = append(steps, exec.Command("./build.sh", file))
	}
	steps = append(steps, exec.Command("mkdir", archive, root), exec.Command("tar", "-C", archive, "-xf", file))
	for _, step := range steps {
		if out, err := step.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", step, err, out)
		}
	}
	image, err := readImage()
	if err != nil {
		return 0, err
	}
	for _, layer := range image.manifest.Layers {
		if err := unpack(blob(layer.Digest)); err != nil {
			return 0, fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	return m.Run(), nil
}

// descriptor names a blob of the archive.
type descriptor struct {
	Digest      string
	Size        int64
	Annotations map[string]string
}

type image struct {
	name     string
	manifest struct {
		Config descriptor
		Layers []descriptor
	}
	text   []byte // of the configuration
	config struct {
		Architecture, OS string
		Config           struct {
			Entrypoint, Env []string
			User            string
			Labels          map[string]string
		}
	}
}

func readImage() (*image, error) {
	var index struct{ Manifests []descriptor }
	i := &image{}
	if err := readJSON(filepath.Join(archive, "index.json"), &index); err != nil {
		return nil, err
	}
	if len(index.Manifests) != 1 {
		return nil, fmt.Errorf("the archive has %d images, want one", len(index.Manifests))
	}
	i.name = index.Manifests[0].Annotations["io.containerd.image.name"]
	if err := readJSON(blob(index.Manifests[0].Digest), &i.manifest); err != nil {
		return nil, err
	}
	var err error
	if i.text, err = os.ReadFile(blob(i.manifest.Config.Digest)); err != nil {
		return nil, err
	}
	return i, json.Unmarshal(i.text, &i.config)
}

func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func blob(digest string) string {
	return filepath.Join(archive, "blobs", strings.ReplaceAll(digest, ":", "/"))
}

// unpack adds a layer to the root. What a layer takes away of those below it is taken away first.
func unpack(layer string) error {
	file, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer file.Close()
	stream, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	const whiteout = ".wh."
	for entries := tar.NewReader(stream); ; {
		entry, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		folder, name := filepath.Split(filepath.Join(root, entry.Name))
		if gone, ok := strings.CutPrefix(name, whiteout); ok && gone != ".wh..opq" {
			if err := os.RemoveAll(filepath.Join(folder, gone)); err != nil {
				return err
			}
		}
	}
	out, err := exec.Command("tar", "-C", root, "--exclude", whiteout+"*", "-xzf", layer).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpack: %w: %s", err, out)
	}
	return nil
}

func TestTheImageIsSmall(t *testing.T) {
	i, err := readImage()
	if err != nil {
		t.Fatal(err)
	}
	size := i.manifest.Config.Size
	for _, layer := range i.manifest.Layers {
		info, err := os.Stat(blob(layer.Digest))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	t.Logf("%.1f MB compressed", float64(size)/(1<<20))
	if size > most {
		t.Errorf("%d bytes compressed, want at most %d", size, most)
	}
}

func TestTheImageSaysWhatItIs(t *testing.T) {
	i, err := readImage()
	if err != nil {
		t.Fatal(err)
	}
	c := i.config
	if i.name != "docker.io/fairlead/fairlead:dev" || c.OS != "linux" || c.Architecture != runtime.GOARCH {
		t.Errorf("%s is for %s/%s", i.name, c.OS, c.Architecture)
	}
	if got := c.Config.Entrypoint; len(got) != 1 || got[0] != "fairlead" || c.Config.User != "" {
		t.Errorf("entry point %q as user %q", got, c.Config.User)
	}
	for _, label := range []string{"title", "description", "source", "documentation", "licenses", "version"} {
		if c.Config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("no label %s", label)
		}
	}
}

// How this machine gets at modules is nobody else's business.
func TestTheImageKeepsNothingOfTheBuild(t *testing.T) {
	i, err := readImage()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"GOPROXY", "GOFLAGS", "GOCACHE", "GOMODCACHE"} {
		if bytes.Contains(i.text, []byte(word)) {
			t.Errorf("its configuration has %s", word)
		}
	}
	for _, path := range []string{"/src", "/mnt/*", "/media/*", "/usr/local/go", "/var/lib/apt/lists/*", "/var/cache/apt/archives/*.deb", "/usr/share/doc/*", "/usr/share/locale/*"} {
		if found, _ := filepath.Glob(root + path); len(found) > 0 {
			t.Errorf("it holds %s", found)
		}
	}
}

func TestProgramsRunInTheImage(t *testing.T) {
	tests := []struct {
		command []string
		want    string
	}{
		{[]string{"fairlead", "--version"}, "fairlead version "},
		{[]string{"iptables-legacy", "--version"}, "(legacy)"},
		{[]string{"ip6tables-legacy", "--version"}, "(legacy)"},
		{[]string{"iptables-nft", "--version"}, "(nf_tables)"},
		{[]string{"ip6tables-nft", "--version"}, "(nf_tables)"},
		{[]string{"modprobe", "--version"}, "kmod"},
	}
	for _, test := range tests {
		t.Run(test.command[0], func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "chroot", append([]string{root}, test.command...)...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// pod does what the DaemonSet's two containers do, and then what manifests/cleanup does, in a network of its own: the first one with all
// privileges, the others with two capabilities to which nothing can be added, and a root and a /proc/sys that are read-only. What the
// machine shares with all networks is left alone.
const pod = `
set -eu
root=$1 variant=$2 examples=$3 init_log=$4
settings="--manifests=/examples --hostname-override=node1 --iptables-variant=$variant --conntrack-max-per-core=0 --conntrack-min=0"
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mkdir -p "$root/examples"
mount --bind "$examples" "$root/examples"
mount -t tmpfs tmpfs /run
touch /run/xtables.lock "$root/run/xtables.lock"
mount --bind /run/xtables.lock "$root/run/xtables.lock"
mount -o remount,bind,ro "$root"
ip link set lo up
chroot "$root" fairlead run --init-only $settings >"$init_log" 2>&1
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
confined() {
	chroot "$root" setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all --no-new-privs "$@"
}
trap : TERM # it is for the program, which is waited for
confined fairlead run $settings
confined fairlead cleanup
for program in iptables ip6tables; do
	if chroot "$root" "$program-$variant-save" | grep FL-; then exit 1; fi
done
`

func TestTwoCapabilitiesAndAReadOnlyRootAreEnough(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range []string{"legacy", "nft"} {
		t.Run(variant, func(t *testing.T) {
			var log bytes.Buffer
			initLog := filepath.Join(t.TempDir(), "log")
			cmd := exec.Command("unshare", "--mount", "--net", "sh", "-c", pod, "pod", root, variant, examples, initLog)
			cmd.Stdout, cmd.Stderr = &log, &log
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for deadline := time.Now().Add(2 * time.Minute); !served(cmd.Process.Pid, variant); time.Sleep(100 * time.Millisecond) {
				select {
				case err := <-ended:
					prepared, _ := os.ReadFile(initLog)
					t.Fatalf("it ends: %v\n%s%s", err, prepared, &log)
				default:
				}
				if time.Now().After(deadline) {
					_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
					<-ended
					t.Fatalf("no rules of my-service in two minutes\n%s", &log)
				}
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			if err := <-ended; err != nil {
				t.Errorf("it ends with %v, or rules are left\n%s", err, &log)
			}
			for _, word := range []string{"permitted", "denied", "read-only"} {
				if strings.Contains(strings.ToLower(log.String()), word) {
					t.Errorf("something was refused:\n%s", &log)
				}
			}
		})
	}
}

// served reports whether a process's network has the rules of the examples, in both families.
func served(pid int, variant string) bool {
	for _, program := range []string{"iptables", "ip6tables"} {
		out, err := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), "chroot", root, program+"-"+variant+"-save", "-t", "nat").Output()
		if err != nil || !bytes.Contains(out, []byte("FL-S-my-service")) {
			return false
		}
	}
	return true
}

func TestFairleadCompilesForTheOtherPlatforms(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		if arch == runtime.GOARCH {
			continue
		}
		cmd := exec.Command("go", "build", "-trimpath", "-o", os.DevNull, "github.com/fairlead/fairlead/cmd/fairlead")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", arch, err, out)
		}
	}
}
