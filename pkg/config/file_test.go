package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"
)

const (
	head    = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	ownHead = "---\napiVersion: fairlead.dev/v1alpha1\nkind: FairleadConfiguration\n"
)

// mustParse reads a valid file.
func mustParse(t *testing.T, content string) (*Config, []Notice) {
	t.Helper()
	c, notices, err := Parse("file", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return c, notices
}

// changed names the flags of the settings in which two configurations differ.
func changed(was, is *Config) (flags []string) {
	for _, s := range differing(was, is) {
		flags = append(flags, s.flag)
	}
	return flags
}

func TestFilesOfKubeadmHaveNoNotices(t *testing.T) {
	data, err := os.ReadFile("testdata/kubeadm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, notices := mustParse(t, string(data))
	if len(notices) > 0 {
		t.Errorf("notices: %v", notices)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	want := []string{"kubeconfig", "cluster-cidr"}
	if got := changed(Default(), c); !slices.Equal(got, want) {
		t.Errorf("these are not as by default: %v, want %v", got, want)
	}
	if c.Kubeconfig != "/var/lib/kube-proxy/kubeconfig.conf" || c.ClusterCIDR != "10.244.0.0/16,fd00:10:244::/56" {
		t.Errorf("got %q and %q", c.Kubeconfig, c.ClusterCIDR)
	}
}

func TestAFileMeansWhatItMeansToKubeProxy(t *testing.T) {
	tests := []struct {
		name, content string
		want          func(*Config)
	}{
		{"nothing but its kind", head, func(*Config) {}},
		{"JSON", `{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration",` + "\n\t" + `"mode":"ipvs"}`, func(c *Config) { c.Mode = ModeIPVS }},
		{"zeros that say nothing", head + "ipvs: {syncPeriod: 0s}\niptables: {minSyncPeriod: 0s}\nclientConnection: {qps: 0, burst: 0}\n", func(*Config) {}},
		{"zeros that say something", head + "conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}\niptables: {masqueradeBit: 0, localhostNodePorts: false}\noomScoreAdj: 0\n",
			func(c *Config) {
				c.Conntrack = Conntrack{}
				c.IPTables.MasqueradeBit, c.IPTables.LocalhostNodePorts, c.OOMScoreAdj = 0, false, 0
			}},
		{"a bind address of IPv6", head + "bindAddress: '::'\n", func(c *Config) {
			c.HTTP.HealthzBindAddress, c.HTTP.MetricsBindAddress = "[::]:10256", "[::1]:10249"
		}},
		{"addresses without a port", head + "healthzBindAddress: 192.0.2.1\nmetricsBindAddress: '::'\n", func(c *Config) {
			c.HTTP.HealthzBindAddress, c.HTTP.MetricsBindAddress = "192.0.2.1:10256", "[::]:10249"
		}},
		{"log verbosity", head + "logging: {verbosity: 4, vmodule: [{filePattern: watch, verbosity: 9}, {filePattern: 'a*', verbosity: 1}]}\n",
			func(c *Config) { c.Logging = Logging{Verbosity: 4, VModule: "watch=9,a*=1"} }},
		{"both documents", head + "mode: ipvs\n" + ownHead + "ipvs: {drainTimeout: 5m, markBit: 3}\niptables: {variant: nft}\ndropInvalid: 'off'\nserviceCounters: true\nmasqueradeAddress: internal-ip\ntakeOver: false\nmanifests: /m\nconntrack: {deleteUnrepliedTCP: true}\n",
			func(c *Config) {
				c.Mode, c.IPVS.DrainTimeout, c.IPVS.MarkBit, c.IPTables.Variant = ModeIPVS, 5*time.Minute, 3, "nft"
				c.ServiceCounters = true
				c.DropInvalid, c.MasqueradeAddress, c.TakeOver, c.Manifests, c.Conntrack.DeleteUnrepliedTCP = DropInvalidOff, MasqueradeInternalIP, false, "/m", true
			}},
		{"our document first, comments and empty documents", "# ours\n" + ownHead[4:] + "ipvs: {drainTimeout: 0s}\n--- # theirs\n# nothing\n---\n%YAML 1.1\n---\t\n" + head + "...\n---\n",
			func(c *Config) { c.IPVS.DrainTimeout = 0 }},
		{"lines as Windows ends them", strings.ReplaceAll(head+"mode: ipvs\n"+ownHead+"takeOver: false\n", "\n", "\r\n"),
			func(c *Config) { c.Mode, c.TakeOver = ModeIPVS, false }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, notices := mustParse(t, test.content)
			if len(notices) > 0 {
				t.Errorf("notices: %v", notices)
			}
			want := Default()
			test.want(want)
			got.origin = origin{}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestErrorsInAFileAreNamed(t *testing.T) {
	tests := []struct {
		name, content string
		want          []string // each in the message
	}{
		{"nothing", "", []string{"contains no KubeProxyConfiguration", "apiVersion: kubeproxy.config.k8s.io/v1alpha1"}},
		{"our document alone", ownHead, []string{"contains no KubeProxyConfiguration"}},
		{"no YAML", head + "mode: [\n", []string{"neither YAML nor JSON"}},
		{"no YAML in the second document", head + ownHead + "a: b: c\n", []string{"document in line 3", "line 6"}},
		{"no fields", "- mode\n", []string{"document in line 1"}},
		{"no kind", "mode: ipvs\n", []string{"line 1", "has no apiVersion or no kind", "kind: KubeProxyConfiguration"}},
		{"another version of kube-proxy's", "apiVersion: kubeproxy.config.k8s.io/v2\nkind: KubeProxyConfiguration\n", []string{`"kubeproxy.config.k8s.io/v2"`, `use apiVersion "kubeproxy.config.k8s.io/v1alpha1"`}},
		{"another version of ours", head + "---\napiVersion: fairlead.dev/v1\nkind: FairleadConfiguration\n", []string{"line 3", `"fairlead.dev/v1"`, `"fairlead.dev/v1alpha1"`}},
		{"another group than ours", head + "---\napiVersion: fairlead.io/v1alpha1\nkind: FairleadConfiguration\n", []string{`"fairlead.io/v1alpha1"`, `"fairlead.dev/v1alpha1"`}},
		{"two documents of a kind", head + "---\n" + head, []string{"lines 1 and 3", "remove one"}},
		{"two modes", head + "mode: ipvs\nmode: iptables\n", []string{"mode is set twice", "line 4", "remove one"}},
		{"two modes in JSON", `{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration","mode":"ipvs","mode":"iptables"}`, []string{"mode is set twice"}},
		{"values of the wrong kind, all of them", head + "mode: 5\noomScoreAdj: low\niptables: {syncPeriod: 30, minSyncPeriod: '1', masqueradeAll: 'yes'}\nipvs: []\nnodePortAddresses: 10.0.0.0/8\nclientConnection: {qps: fast}\n",
			[]string{
				"mode: invalid value 5: must be a string", `oomScoreAdj: invalid value "low": must be an integer`,
				`iptables.syncPeriod: invalid value 30: must be a duration such as "30s"`, `iptables.minSyncPeriod: invalid value "1": time: missing unit`,
				"iptables.masqueradeAll: invalid value \"yes\": must be true or false", "ipvs: invalid value []: must be an object with fields",
				"nodePortAddresses: invalid value \"10.0.0.0/8\": must be a list", `clientConnection.qps: invalid value "fast": must be a number`,
			}},
		{"faults of both documents", head + "oomScoreAdj: low\n" + ownHead + "ipvs: {drainTimeout: 5}\n", []string{"oomScoreAdj", "ipvs.drainTimeout"}},
		{"a value of the wrong kind in ours", head + ownHead + "takeOver: maybe\nipvs: {drainTimeout: 300}\n", []string{`takeOver: invalid value "maybe": must be true or false`, "ipvs.drainTimeout: invalid value 300: must be a duration"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Parse("file", []byte(test.content))
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "file: ") {
					t.Errorf("%q does not name the file", line)
				}
			}
		})
	}
}

func TestInvalidFieldsOfAFileAreNamedByTheirPath(t *testing.T) {
	tests := []struct {
		name, content string
		want          []string // each a line of the message
	}{
		{"all faults at once", head + "mode: userspace\nclusterCIDR: 10.0.0.0\nconntrack: {min: -1}\n", []string{
			`file: clusterCIDR: "10.0.0.0" is not a range of addresses such as 10.244.0.0/16`,
			`file: mode: "userspace" is not one of iptables, ipvs, auto`,
			"file: conntrack.min: -1 is negative; use 0 or more",
		}},
		{"a field that is needed", head + "detectLocalMode: BridgeInterface\n", []string{"file: detectLocal.bridgeInterface: must be set if file: detectLocalMode is BridgeInterface"}},
		{"of nftables mode", head + "mode: nftables\nnftables: {masqueradeBit: 32, syncPeriod: -1s}\n", []string{
			"file: nftables.masqueradeBit: 32 is not between 0 and 31",
			"file: nftables.syncPeriod: -1s is not positive",
			"file: nftables.minSyncPeriod: 1s is not between 0 and file: nftables.syncPeriod (-1s)",
		}},
		{"of both documents", head + "mode: ipvs\niptables: {masqueradeBit: 12}\n" + ownHead + "dropInvalid: sometimes\n", []string{
			`file: dropInvalid (in FairleadConfiguration): "sometimes" is not one of on, off, auto`,
			"file: ipvs.markBit (in FairleadConfiguration): 12 is already the bit of file: iptables.masqueradeBit; use another bit for one of them",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := mustParse(t, test.content)
			if got := c.Validate(); got == nil || got.Error() != strings.Join(test.want, "\n") {
				t.Errorf("got\n%v\nwant\n%s", got, strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestIgnoredFieldsAreNamed(t *testing.T) {
	tests := []struct {
		name, content string
		want          []string // the settings that are named
	}{
		{"unknown fields", head + "mood: ipvs\nipvs: {schedule: mh}\n", []string{`unknown field "ipvs.schedule"`, `unknown field "mood"`}},
		{"a doubled field", head + "clusterCIDR: 10.0.0.0/8\nclusterCIDR: 11.0.0.0/8\n", []string{`line 4: key "clusterCIDR" already set in map`}},
		{"a field in other letters than kube-proxy's", head + "Mode: ipvs\n", []string{`unknown field "Mode"`}},
		{"unknown and duplicate fields of ours", head + ownHead + "ipvs: {drainTime: 5m}\ntakeOver: true\ntakeOver: false\n", []string{`line 8: key "takeOver" already set in map`, `unknown field "ipvs.drainTime"`}},
		{"nftables mode", head + "mode: nftables\n", []string{"mode"}},
		{"another's document", head + "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n", []string{"document in line 3"}},
		{"what Fairlead does not do", head + "featureGates: {A: true}\nbindAddress: 192.0.2.1\nlogging: {format: json, flushFrequency: 1s}\nportRange: 1-2\n",
			[]string{"featureGates", "bindAddress", "logging.format", "logging.flushFrequency", "portRange"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, notices := mustParse(t, test.content)
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			var got []string
			for _, n := range notices {
				got = append(got, strings.TrimPrefix(n.Setting, "file: "))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// fill sets every field of a struct, one at a time, and calls each with its path.
func fill(v reflect.Value, path string, each func(path string)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			switch {
			case v.Type().Field(i).Name == "TypeMeta":
			case options == "inline":
				fill(v.Field(i), path, each)
			case v.Field(i).Type().String() == "v1.Duration":
				v.Field(i).Field(0).SetInt(int64(77 * time.Second))
				each(path + name)
				v.Field(i).Field(0).SetInt(0)
			case v.Field(i).Type().String() == "v1.TimeOrMetaDuration":
				v.Field(i).Field(0).Field(0).SetInt(int64(77 * time.Second))
				each(path + name)
				v.Field(i).SetZero()
			case v.Field(i).Type().String() == "resource.QuantityValue":
				v.Field(i).Addr().MethodByName("Set").Call([]reflect.Value{reflect.ValueOf("77")})
				each(path + name)
				v.Field(i).SetZero()
			case v.Field(i).Kind() == reflect.Struct:
				fill(v.Field(i), path+name+".", each)
			default:
				fill(v.Field(i), path+name, each)
			}
		}
		return
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		inner := v.Elem()
		if inner.Kind() == reflect.Struct {
			inner.Field(0).SetInt(int64(77 * time.Second))
			each(path)
		} else {
			fill(inner, path, each)
		}
		v.SetZero()
		return
	case reflect.Bool:
		// A pointer to false differs from the default too.
		v.SetBool(!strings.HasSuffix(path, "localhostNodePorts"))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Index(0).Kind() == reflect.String {
			v.Index(0).SetString("value")
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("Gate"), reflect.ValueOf(true))
	case reflect.String:
		v.SetString("value")
	case reflect.Float32:
		v.SetFloat(77)
	case reflect.Uint32:
		v.SetUint(7)
	default:
		v.SetInt(7)
	}
	each(path)
	v.SetZero()
}

// fields lists the fields of kube-proxy's document, and calls each with the document that has nothing but that field.
func fields(each func(path string, k *v1alpha1.KubeProxyConfiguration)) {
	k := &v1alpha1.KubeProxyConfiguration{}
	fill(reflect.ValueOf(k).Elem(), "", func(path string) { each(path, k) })
}

func TestEveryFieldOfKubeProxysIsUsedOrNamed(t *testing.T) {
	n := 0
	fields(func(path string, k *v1alpha1.KubeProxyConfiguration) {
		n++
		c := Default()
		c.setKubeProxy(k)
		var paths []string
		for _, s := range differing(Default(), c) {
			paths = append(paths, s.field)
		}
		if c.Logging != (Logging{}) {
			paths = append(paths, "logging.verbosity", "logging.vmodule")
		}
		notices := withoutEffect(k)
		switch {
		case strings.HasPrefix(path, "nftables."): // as in kube-proxy, settings of another mode are ignored
			if paths != nil || notices != nil {
				t.Errorf("%s has an effect: %v, %v", path, paths, notices)
			}
		case slices.Contains(paths, path):
		case len(notices) == 1 && (notices[0].Setting == path || strings.HasPrefix(path, notices[0].Setting+".")):
		default:
			t.Errorf("%s sets %v, and is logged as %v", path, paths, notices)
		}
	})
	if n < 60 {
		t.Errorf("saw only %d fields", n)
	}
}

func TestWrittenSettingsAreReadUnchanged(t *testing.T) {
	c := Default()
	fs := c.flags()
	for flag, value := range map[string]string{
		"proxy-mode": "ipvs", "kubeconfig": "/k", "kube-api-qps": "-1", "hostname-override": "n", "cluster-cidr": "10.0.0.0/8,fd00::/8", "nodeport-addresses": "10.0.0.0/8,fd00::/8",
		"masquerade-all": "true", "iptables-masquerade-bit": "0", "iptables-localhost-nodeports": "false", "ipvs-scheduler": "mh", "ipvs-exclude-cidrs": "192.0.2.0/24",
		"ipvs-tcp-timeout": "5m", "conntrack-max-per-core": "0", "conntrack-tcp-timeout-established": "0", "conntrack-udp-timeout": "7s", "oom-score-adj": "0",
		"profiling": "true", "drop-invalid": "off", "take-over": "false", "ipvs-drain-timeout": "0", "ipvs-mark-bit": "0", "iptables-variant": "nft",
	} {
		if err := fs.Set(flag, value); err != nil {
			t.Fatal(err)
		}
	}
	c.Logging = Logging{Verbosity: 3, VModule: "a=1,b=2"}
	data, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	got, notices := mustParse(t, string(data))
	if len(notices) > 0 {
		t.Errorf("notices: %v", notices)
	}
	if differ := changed(c, got); differ != nil || got.Logging != c.Logging {
		t.Errorf("these differ: %v; logging: %v", differ, got.Logging)
	}
}

func FuzzFilesAreReadWhateverTheyHold(f *testing.F) {
	kubeadm, err := os.ReadFile("testdata/kubeadm.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(kubeadm), head + "mode: ipvs\n" + ownHead + "ipvs: {markBit: 3}\n", `{"kind":"KubeProxyConfiguration"}`, "--- |\n---\n...\n", head + "nodePortAddresses: [primary]\nlogging: {vmodule: [{filePattern: a, verbosity: 1}]}\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := Parse("file", data)
		if err != nil || c.Validate() != nil {
			return
		}
		written, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := Parse("file", written)
		if err != nil {
			t.Fatalf("what is written cannot be read: %v\n%s", err, written)
		}
		if differ := changed(c, again); differ != nil {
			t.Errorf("%v are not as they were in\n%s", differ, written)
		}
	})
}

func TestOwnDocumentHasAllOwnSettings(t *testing.T) {
	data, err := yaml.Marshal(Default().Own())
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := yaml.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if !s.own {
			continue
		}
		at := any(fields)
		for key := range strings.SplitSeq(s.field, ".") {
			below, _ := at.(map[string]any)
			at = below[key]
		}
		if at == nil {
			t.Errorf("a %s has no field %s for --%s", ownKind, s.field, s.flag)
		}
	}
}
