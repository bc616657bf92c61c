package takeover

import (
	"fmt"
	"net/http"
	"net/netip"
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
	"github.com/fairlead/fairlead/e2e/tier"
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
	before  map[lab.Family]string // the rules of other programs

	kubeProxy    *lab.Process
	kubeProxyLog site.Log
}

// newCluster is for a kube-proxy in some mode, whose nftables mode cannot accept what a policy in iptables drops.
func newCluster(t *testing.T, variant, mode string) *cluster {
	t.Helper()
	s := site.New(t, variant)
	c := &cluster{Site: s, t: t, stage: traffic.NewStage(t, s), before: map[lab.Family]string{}}
	c.serve()
	if mode != "nftables" {
		c.stage.DropForwarded(t)
	}
	c.addOthersRules()
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

// others is what kubelet and another program have in the node's tables: all of it stays.
const others = `*mangle
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:SOMEBODY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "another program's" -j SOMEBODY
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

func (c *cluster) addOthersRules() {
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

// served is what Fairlead logs for each family when it serves.
const served = "Synced for the first time"

// startFairlead starts it, and waits until it serves.
func (c *cluster) startFairlead(flags ...string) {
	c.t.Helper()
	before := c.Log.Count(served)
	c.StartOn(append([]string{"--master", c.url}, flags...)...)
	c.Eventually("Fairlead serves both families", func() error {
		if n := c.Log.Count(served) - before; n != len(lab.Families) {
			return fmt.Errorf("%d are served", n)
		}
		return nil
	})
}

// removeLimit is how long the removal may take, and the end of the connections before it. It only ends a run that fails.
var removeLimit = lab.Patience(3 * time.Minute)

// takenOver waits until Fairlead logs that all of kube-proxy's is gone, and checks that it is, and that all of others' is there.
func (c *cluster) takenOver() {
	c.t.Helper()
	for _, f := range lab.Families {
		text := fmt.Sprintf("what it had left for %s is removed", f)
		c.Within(removeLimit, text, func() error {
			if c.Log.Count(text) == 0 {
				return fmt.Errorf("it logs:\n%s", c.Log.String())
			}
			return nil
		})
		c.onlyOthers(f)
	}
}

// onlyOthers checks that the rules are those before and Fairlead's.
func (c *cluster) onlyOthers(f lab.Family) {
	c.t.Helper()
	want, got := ofOthers(c.before[f]), ofOthers(c.Rules(f))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		c.t.Errorf("%s: the rules are\n%s\nwant\n%s", f, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// othersStay checks that the rules before are still there, whatever there is beside them.
func (c *cluster) othersStay(f lab.Family) {
	c.t.Helper()
	got := ofOthers(c.Rules(f))
	for _, rule := range ofOthers(c.before[f]) {
		if !slices.Contains(got, rule) {
			c.t.Errorf("%s: the rule %s is gone; the rules are\n%s", f, rule, strings.Join(got, "\n"))
		}
	}
}

// ofOthers are the lines that are not about chains of Fairlead, and not there or gone with the first or last rule of a table.
func ofOthers(rules string) []string {
	return slices.DeleteFunc(strings.Split(rules, "\n"), func(line string) bool {
		emptyChain := strings.HasPrefix(line, ":") && strings.HasSuffix(line, " ACCEPT")
		ours := strings.HasPrefix(line, ":FL") || strings.HasPrefix(line, "-A FL") || strings.Contains(line, "-j FL")
		// kube-proxy adds to kubelet's chain what protects localhost (CVE-2020-8558), as kubelet does itself.
		return line == "" || line == "COMMIT" || strings.HasPrefix(line, "*") || emptyChain || ours || strings.HasPrefix(line, "-A KUBE-FIREWALL ")
	})
}

// startTraffic starts it and waits until everything has been answered.
func (c *cluster) startTraffic() *traffic.Traffic {
	c.t.Helper()
	flow := traffic.Run(c.t, traffic.Options{Targets: c.stage.Targets, Standing: tier.Count(48, 100), Rate: 100})
	flow.More(c.t, 1)
	return flow
}

// step logs how far the test has come, as it may take minutes.
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
