package configuration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/pkg/config"
)

const (
	head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	own  = "---\napiVersion: fairlead.dev/v1alpha1\nkind: FairleadConfiguration\n"
)

// kubeProxy runs the real kube-proxy, and returns all that it says.
func kubeProxy(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := apiserver.KubernetesProgram("kube-proxy")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	return string(out), err
}

func read(t *testing.T, path string) *v1alpha1.KubeProxyConfiguration {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var k v1alpha1.KubeProxyConfiguration
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		t.Fatal(err)
	}
	return &k
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.conf")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load is how Fairlead understands a command line, and what it logs about that.
func load(t *testing.T, args ...string) (*config.Config, string, error) {
	t.Helper()
	flags := pflag.NewFlagSet("fairlead", pflag.ContinueOnError)
	line := config.NewCommandLine(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	c, err := line.Load(logger)
	return c, logger.GetSink().(ktesting.Underlier).GetBuffer().String(), err
}

// compared leaves out what Fairlead does not do, what does not matter in the mode, and what both have to default.
func compared(k *v1alpha1.KubeProxyConfiguration) *v1alpha1.KubeProxyConfiguration {
	k.BindAddress = "" // its one effect is on the addresses of the servers, which are compared
	k.NFTables = v1alpha1.KubeProxyNFTablesConfiguration{}
	if k.Mode == "ipvs" {
		k.IPTables.SyncPeriod.Duration, k.IPTables.MinSyncPeriod.Duration = 0, 0
	} else {
		k.IPVS.SyncPeriod.Duration, k.IPVS.MinSyncPeriod.Duration = 0, 0
	}
	if k.IPVS.Scheduler == "rr" {
		k.IPVS.Scheduler = "" // kube-proxy defaults it later
	}
	k.FeatureGates = nil
	k.HostnameOverride = strings.ToLower(strings.TrimSpace(k.HostnameOverride)) // which both do, at one time or the other
	return k
}

func TestFilesAndFlagsMeanWhatTheyMeanToKubeProxy(t *testing.T) {
	kubeadm, err := os.ReadFile("../../pkg/config/testdata/kubeadm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kubeadm137, err := os.ReadFile("../../pkg/config/testdata/effective/kubeadm-1.37.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k3s, err := os.ReadFile("../../pkg/config/testdata/effective/k3s.flags")
	if err != nil {
		t.Fatal(err)
	}
	// With --write-config-to, kube-proxy does not add the default port, and rejects its own result.
	k3sFlags := strings.Fields(strings.Replace(string(k3s), "--healthz-bind-address=127.0.0.1", "--healthz-bind-address=127.0.0.1:10256", 1))
	k3sIPv6, err := os.ReadFile("../../pkg/config/testdata/effective/k3s-ipv6.flags")
	if err != nil {
		t.Fatal(err)
	}
	k3sIPv6Flags := strings.Fields(strings.Replace(string(k3sIPv6), "--healthz-bind-address=::1", "--healthz-bind-address=[::1]:10256", 1))
	everything := head + `mode: ipvs
clientConnection: {kubeconfig: /k, qps: 7, burst: 8, contentType: application/json, acceptContentTypes: application/json}
hostnameOverride: Node
bindAddress: "::"
bindAddressHardFail: true
enableProfiling: true
healthzBindAddress: 192.0.2.1
detectLocalMode: InterfaceNamePrefix
detectLocal: {interfaceNamePrefix: veth, bridgeInterface: br0}
clusterCIDR: 10.0.0.0/8,fd00::/8
nodePortAddresses: [10.0.0.0/8, "fd00::/8"]
oomScoreAdj: 0
configSyncPeriod: 1m
iptables: {masqueradeBit: 0, masqueradeAll: true, localhostNodePorts: false, syncPeriod: 1m, minSyncPeriod: 2s}
ipvs: {syncPeriod: 2m, minSyncPeriod: 3s, scheduler: mh, excludeCIDRs: [192.0.2.0/24], strictARP: true, tcpTimeout: 1m, tcpFinTimeout: 2m, udpTimeout: 3m}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, tcpBeLiberal: true, udpTimeout: 1s, udpStreamTimeout: 2s}
logging: {verbosity: 3, vmodule: [{filePattern: a, verbosity: 1}]}
`
	tests := []struct {
		name, file string // no file: flags alone
		args       []string
	}{
		{"what kubeadm 1.36 writes", string(kubeadm), nil},
		{"what kubeadm 1.37 writes", string(kubeadm137), nil},
		{"the flags of k3s", "", k3sFlags},
		{"nothing but its kind", head, nil},
		{"everything", everything, nil},
		{"a document of ours behind it", everything + own + "ipvs: {markBit: 3}\n", nil},
		{"JSON", `{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration",` + "\n\t" + `"mode":"ipvs"}`, nil},
		{"zeros", head + "iptables: {syncPeriod: 0s, minSyncPeriod: 0s}\nclientConnection: {qps: 0, burst: 0}\nconfigSyncPeriod: 0s\n", nil},
		{"unknown and doubled fields", head + "mood: ipvs\nclusterCIDR: 10.0.0.0/8\nclusterCIDR: 11.0.0.0/8\nMode: ipvs\n", nil},
		{"flags beside a file", head + "hostnameOverride: file\nmode: ipvs\n", []string{"--hostname-override= FLAG ", "--proxy-mode=iptables", "--kubeconfig=x", "--oom-score-adj=5", "--healthz-port=0", "--ipvs-scheduler=mh"}},
		{"flags alone", "", []string{"--proxy-mode=ipvs", "--ipvs-scheduler=mh", "--ipvs-sync-period=1m", "--ipvs-min-sync-period=2s", "--cluster-cidr=10.0.0.0/8", "--hostname-override=x", "--kubeconfig=y",
			"--nodeport-addresses=10.0.0.0/8,fd00::/8", "--masquerade-all", "--conntrack-min=1", "--kube-api-qps=3", "--oom-score-adj=7", "--profiling"}},
		{"the flags of k3s on an IPv6 node", "", k3sIPv6Flags},
		{"no flags", "", nil},
		{"empty addresses to listen on", "", []string{"--healthz-bind-address=", "--metrics-bind-address="}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.file != "" {
				args = append([]string{"--config=" + write(t, test.file)}, args...)
			}
			theirs := filepath.Join(t.TempDir(), "theirs.yaml")
			if out, err := kubeProxy(t, append(args, "--write-config-to="+theirs)...); err != nil {
				t.Fatalf("kube-proxy: %v\n%s", err, out)
			}
			c, _, err := load(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			ours := filepath.Join(t.TempDir(), "ours.yaml")
			data, err := yaml.Marshal(c.KubeProxy())
			if err == nil {
				err = os.WriteFile(ours, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(compared(read(t, theirs)), compared(read(t, ours))); diff != "" {
				t.Errorf("kube-proxy (-) and Fairlead (+) differ:\n%s", diff)
			}
		})
	}
}

func TestWhatKubeProxyRefusesFairleadRefusesByName(t *testing.T) {
	tests := []struct {
		name, file string
		args       []string
		want       string // that the error names
	}{
		{"an unknown apiVersion", strings.Replace(head, "v1alpha1", "v1beta9", 1), nil, "v1beta9"},
		{"another kind", strings.Replace(head, "KubeProxyConfiguration", "KubeletConfiguration", 1), nil, "KubeletConfiguration"},
		{"no YAML", head + "\tmode: ipvs\n", nil, "config.conf"},
		{"a value of another type", head + "iptables: {syncPeriod: often}\n", nil, "often"},
		{"a range without an address", head + "clusterCIDR: 10.0.0.0/99\n", nil, "10.0.0.0/99"},
		{"a range of node ports without an address", head + "nodePortAddresses: [everywhere]\n", nil, "everywhere"},
		{"an unknown mode", head + "mode: fast\n", nil, "fast"},
		{"a negative period", head + "iptables: {syncPeriod: -1s}\n", nil, "syncPeriod"},
		{"an unknown mode by flag", "", []string{"--proxy-mode=fast"}, "fast"},
		{"no such file", "", []string{"--config=/nowhere/config.conf"}, "/nowhere/config.conf"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.file != "" {
				args = append([]string{"--config=" + write(t, test.file)}, args...)
			}
			if out, err := kubeProxy(t, append(args, "--write-config-to="+filepath.Join(t.TempDir(), "theirs.yaml"))...); err == nil {
				t.Errorf("kube-proxy takes it:\n%s", out)
			}
			c, _, err := load(t, args...)
			if err == nil {
				err = c.Validate()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that names %q", err, test.want)
			}
		})
	}
}

func TestKubeProxyReadsWhatFairleadWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ours.yaml")
	c, _, err := load(t, "--proxy-mode=ipvs", "--ipvs-mark-bit=3")
	if err == nil {
		err = c.WriteFile(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(t.TempDir(), "theirs.yaml")
	out, err := kubeProxy(t, "--config="+path, "--write-config-to="+theirs)
	if err != nil || strings.Contains(out, "lenient") {
		t.Errorf("kube-proxy: %v\n%s", err, out)
	}
	if mode := read(t, theirs).Mode; mode != "ipvs" {
		t.Errorf("kube-proxy read mode %q", mode)
	}
}

func TestFairleadReadsWhatKubeProxyWritesWithoutANotice(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "theirs.yaml")
	if out, err := kubeProxy(t, "--write-config-to="+theirs); err != nil {
		t.Fatalf("kube-proxy: %v\n%s", err, out)
	}
	if _, log, err := load(t, "--config="+theirs); err != nil || log != "" {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestFairleadTakesEveryFlagOfKubeProxys(t *testing.T) {
	help, err := kubeProxy(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`).FindAllStringSubmatch(help, -1) {
		names = append(names, match[1])
	}
	if len(names) < 50 {
		t.Fatalf("saw only %d flags: %v", len(names), names)
	}
	flags := pflag.NewFlagSet("fairlead", pflag.ContinueOnError)
	config.NewCommandLine(flags)
	// The program itself has these, from klog and cobra.
	program := []string{"help", "version", "v", "vmodule"}
	for _, name := range names {
		if flags.Lookup(name) == nil && !slices.Contains(program, name) {
			t.Errorf("Fairlead has no flag --%s", name)
		}
	}
}
