// Package image builds the container image with build.sh and tests it (`make test-image`; root). FAIRLEAD_IMAGE=FILE tests an image that
// is already built.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/pkg/service/servicetest"
)

// most is the limit of the compressed size in bytes.
const most = 60_000_000

// archive is the unpacked archive, root holds the files of the image.
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
	if err := prepareRoot(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// prepareRoot removes the shells, as nothing in the image may need one at run time, and makes what a container runtime mounts over.
func prepareRoot() error {
	for _, shell := range []string{"sh", "dash", "bash", "rbash"} {
		if err := os.Remove(filepath.Join(root, "usr/bin", shell)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(root, "manifests"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "run/xtables.lock"), nil, 0o600)
}

// descriptor refers to a blob of the archive.
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

// unpack adds a layer to root. Files of lower layers that it deletes (whiteouts) are removed first.
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

func TestImageSize(t *testing.T) {
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
	t.Logf("%.1f MB compressed", float64(size)/1e6)
	if size > most {
		t.Errorf("%d bytes compressed, want at most %d", size, most)
	}
}

func TestImageMetadata(t *testing.T) {
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

// Go settings of the build machine may name private hosts.
func TestImageHasNothingOfTheBuild(t *testing.T) {
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

func TestProgramsRunWithoutAShell(t *testing.T) {
	tests := []struct {
		command []string
		want    string
	}{
		{[]string{"fairlead", "--version"}, "fairlead version "},
		{[]string{"/usr/local/bin/kube-proxy", "--version"}, "fairlead version "},
		{[]string{"ipset", "version"}, "ipset v"},
		{[]string{"iptables-legacy", "--version"}, "(legacy)"},
		{[]string{"ip6tables-legacy", "--version"}, "(legacy)"},
		{[]string{"iptables-nft", "--version"}, "(nf_tables)"},
		{[]string{"ip6tables-nft", "--version"}, "(nf_tables)"},
		{[]string{"modprobe", "--version"}, "kmod"},
	}
	for _, test := range tests {
		t.Run(filepath.Base(test.command[0]), func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "chroot", append([]string{root}, test.command...)...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// pod runs the image the way manifests/ do: first the privileged init container, then the main container, and after its end the one of
// manifests/cleanup. The latter two have few capabilities, cannot gain any, and see a read-only root file system and a read-only
// /proc/sys. Limits that the kernel has once for all network namespaces are not touched.
const pod = `
set -eu
root=$1 variant=$2 capabilities=$3 manifests=$4 init_log=$5 pod_cidrs=$6
settings="--manifests=/manifests --hostname-override=node1 --cluster-cidr=$pod_cidrs --iptables-variant=$variant --conntrack-max-per-core=0 --conntrack-min=0"
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mount --bind "$manifests" "$root/manifests"
mount -t tmpfs tmpfs /run
touch /run/xtables.lock
mount --bind /run/xtables.lock "$root/run/xtables.lock"
mount -o remount,bind,ro "$root"
if chroot "$root" touch /written 2>/dev/null; then echo "the root file system is not read-only"; exit 1; fi
chroot "$root" fairlead run --init-only $settings >"$init_log" 2>&1
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
confined() {
	chroot "$root" setpriv --bounding-set="-all,$capabilities" --inh-caps=-all --no-new-privs "$@"
}
trap : TERM # the signal is for Fairlead, the shell waits for its end
confined fairlead run $settings
confined fairlead cleanup
for program in iptables-legacy ip6tables-legacy iptables-nft ip6tables-nft; do
	if chroot "$root" "$program-save" | grep FL-; then exit 1; fi
done
`

func TestConfinedPodForwards(t *testing.T) {
	tests := []struct{ name, variant, capabilities string }{
		{"legacy, with the capabilities of the DaemonSet", "legacy", "+net_admin,+net_raw"},
		{"nft, with the capabilities of the DaemonSet", "nft", "+net_admin,+net_raw"},
		{"detected variant, with NET_ADMIN alone", "auto", "+net_admin"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := site.New(t, test.variant)
			node := s.Node()
			server, client := s.Pod(node, "server", 8080), s.Pod(node, "client", 8080)
			service := site.DualStack("web", 10, "tcp:80/TCP=30080", "udp:80/UDP=30080")
			service.Spec.Type = corev1.ServiceTypeNodePort
			objects := []apiruntime.Object{service}
			for _, f := range lab.Families {
				slice := servicetest.Slice("web", fmt.Sprintf("web-%s", f), []string{"tcp:8080/TCP", "udp:8080/UDP"}, site.At(f, server, node))
				objects = append(objects, slice)
			}
			s.Write("web.yaml", objects...)
			process := start(t, s, test.variant, test.capabilities)
			for _, network := range []string{"tcp", "udp"} {
				for _, f := range lab.Families {
					s.Answers(client, network, netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
					s.Answers(node, network, netip.AddrPortFrom(site.ClusterIP(f, 10), 80))
					s.Answers(s.Outside, network, node.AddrPort(f, 30080))
				}
			}
			if err := syscall.Kill(-process.Pid(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := process.Wait(ctx); err != nil {
				t.Errorf("Fairlead or its cleanup failed, or rules are left: %v", err)
			}
			for _, word := range []string{"permitted", "denied", "read-only"} {
				if strings.Contains(strings.ToLower(s.Log.String()), word) {
					t.Errorf("the log has %q", word)
				}
			}
		})
	}
}

// start runs the pod on the first node.
func start(t *testing.T, s *site.Site, variant, capabilities string) *lab.Process {
	t.Helper()
	initLog := filepath.Join(t.TempDir(), "init.log")
	t.Cleanup(func() {
		if text, err := os.ReadFile(initLog); err == nil && t.Failed() {
			t.Logf("the init container:\n%s", text)
		}
	})
	args := []string{"--mount", "sh", "-c", pod, "pod", root, variant, capabilities, s.Manifests, initLog, site.PodCIDRs}
	process, err := s.Node().StartProcess("unshare", args, &s.Log)
	if err != nil {
		t.Fatal(err)
	}
	return process
}

func TestFairleadCompilesForTheOtherPlatform(t *testing.T) {
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
