package takeover

import (
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/listwatch"
	"github.com/fairlead/fairlead/e2e/site"
	"github.com/fairlead/fairlead/e2e/traffic"
)

// cluster is a site with a server of objects at its backbone, which kube-proxy and Fairlead on the first node watch. The server stands
// in for the API server, as all that matters here happens in the kernel, and it costs nothing in the virtual machine.
type cluster struct {
	*site.Site
	t       *testing.T
	stage   *traffic.Stage
	objects *listwatch.Server
	url     string
	before  map[lab.Family]string // the rules that are nobody's of the two

	kubeProxy    *lab.Process
	kubeProxyLog site.Log
}

func newCluster(t *testing.T, variant string) *cluster {
	t.Helper()
	// The usual lock is a file that all network namespaces of the machine share.
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "xtables.lock"))
	s := site.New(t, variant)
	c := &cluster{Site: s, t: t, stage: traffic.NewStage(t, s), before: map[lab.Family]string{}}
	c.serve()
	c.makeOthersRules()
	return c
}

// serve offers the stage's objects and the nodes.
func (c *cluster) serve() {
	c.t.Helper()
	c.objects = listwatch.New(c.stage.Objects()...)
	for _, node := range c.Nodes {
		object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: map[string]string{corev1.LabelHostname: node.Name}}}
		for _, f := range lab.Families {
			object.Status.Addresses = append(object.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: node.Address(f).String()})
		}
		c.objects.Set(object)
	}
	listener, err := c.Backbone.Listen("tcp", netip.AddrPortFrom(c.Backbone.IPv4, 0).String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.url = "http://" + listener.Addr().String()
	server := &http.Server{Handler: c.objects, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)
	c.t.Cleanup(func() { server.Close() })
}

// others is what kubelet and somebody else have in the node's tables: all of it stays.
const others = `*mangle
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:SOMEBODY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "somebody else's" -j SOMEBODY
-A SOMEBODY -p tcp -m tcp --dport 9 -j DROP
COMMIT
*nat
:KUBE-MARK-DROP - [0:0]
:KUBE-ROUTER-X - [0:0]
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
-A KUBE-ROUTER-X -j RETURN
-A POSTROUTING -s 192.0.2.7 -j KUBE-ROUTER-X
COMMIT
`

func (c *cluster) makeOthersRules() {
	c.t.Helper()
	for _, f := range lab.Families {
		text := others
		program := "iptables-" + c.Variant + "-restore"
		if f == lab.IPv6 {
			program = "ip6tables-" + c.Variant + "-restore"
			text = strings.ReplaceAll(text, "192.0.2.7", "2001:db8::7")
		}
		cmd := c.Node().Command(c.t.Context(), program, "--noflush", "-w")
		cmd.Stdin = strings.NewReader(text)
		if err := c.Node().Run(cmd); err != nil {
			c.t.Fatal(err)
		}
		c.before[f] = c.Rules(f)
	}
}

// served is what Fairlead says for each family when it serves.
const served = "Synced for the first time"

// startFairlead starts it, and waits until it serves.
func (c *cluster) startFairlead(flags ...string) {
	c.t.Helper()
	said := c.Log.Count(served)
	c.StartOn(append([]string{"--master", c.url}, flags...)...)
	c.Eventually("Fairlead serves both families", func() error {
		if n := c.Log.Count(served) - said; n != len(lab.Families) {
			return fmt.Errorf("%d are served", n)
		}
		return nil
	})
}

// takenOver waits until Fairlead says that all of kube-proxy's is gone, and checks that it is, and that all of others' is there.
func (c *cluster) takenOver() {
	c.t.Helper()
	for _, f := range lab.Families {
		text := fmt.Sprintf("what it had left for %s is removed", f)
		c.until(text, 3*time.Minute, func() error {
			if c.Log.Count(text) == 0 {
				return fmt.Errorf("it says:\n%s", c.Log.String())
			}
			return nil
		})
		c.onlyOthers(f, "FL")
	}
}

// onlyOthers checks that the rules are those before, but for chains that begin with a prefix, and an empty chain or table more.
func (c *cluster) onlyOthers(f lab.Family, prefix string) {
	c.t.Helper()
	kept := func(text string) []string {
		return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
			return line == "" || line == "COMMIT" || strings.HasPrefix(line, "*") || strings.HasSuffix(line, " ACCEPT") ||
				prefix != "" && (strings.Contains(line, ":"+prefix) || strings.Contains(line, "-A "+prefix) || strings.Contains(line, "-j "+prefix)) ||
				// kube-proxy adds to kubelet's chain what protects localhost (CVE-2020-8558), as kubelet does itself.
				strings.HasPrefix(line, "-A KUBE-FIREWALL ")
		})
	}
	want, got := kept(c.before[f]), kept(c.Rules(f))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		c.t.Errorf("%s: the rules are\n%s\nwant\n%s", f, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// until is Eventually with a time of its own.
func (c *cluster) until(what string, atMost time.Duration, try func() error) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(lab.Patience(atMost)); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	c.t.Fatalf("%s: not in %v: %v", what, lab.Patience(atMost), err)
}

// startTraffic starts it and waits until every way in has been used by new connections.
func (c *cluster) startTraffic() *traffic.Traffic {
	c.t.Helper()
	slower := int(lab.Patience(1)) // where all is emulated
	t, err := traffic.Start(c.t.Context(), traffic.Options{Targets: c.stage.Targets, Standing: 100 / slower, Rate: 200 / slower})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { t.Stop() })
	c.flows(t)
	return t
}

// flows waits until every way in has been used by new connections and questions some more times, and every standing one too.
func (c *cluster) flows(t *traffic.Traffic) {
	c.t.Helper()
	was := t.Report()
	c.until("traffic flows", time.Minute, func() error {
		is := t.Report()
		if is.Asked-was.Asked < 4*len(c.stage.Targets) || is.Echoes-was.Echoes < 2*is.Standing || is.FlowAnswers-was.FlowAnswers < 2*is.Flows {
			return fmt.Errorf("only %v", is)
		}
		return nil
	})
}

// step says where the test is, as it may take minutes.
func (c *cluster) step(what string) { c.t.Logf("%s: %s", time.Now().Format(time.TimeOnly), what) }

// cleanup runs fairlead cleanup on the node.
func (c *cluster) cleanup() {
	c.t.Helper()
	if _, err := c.Node().Output(c.t.Context(), site.Program, "cleanup"); err != nil {
		c.t.Error(err)
	}
}

// stopKubeProxy ends it as kubelet would.
func (c *cluster) stopKubeProxy() {
	c.t.Helper()
	_ = c.kubeProxy.Stop(syscall.SIGTERM) // it ends by the signal
}
