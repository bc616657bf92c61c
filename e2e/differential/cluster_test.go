package differential

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/cases"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/pkg/service"
)

// serviceCIDRs hold all cluster IPs of the cases. The range of IPv4 begins elsewhere, as its first address is that of the
// Service "kubernetes".
const serviceCIDRs = "10.64.0.0/10,fd00:10:96::/112"

// families are both.
var families = []service.Family{service.IPv4, service.IPv6}

// cluster is a lab whose API server runs at the backbone.
type cluster struct {
	*lab.Lab
	plane  *apiserver.ControlPlane
	client kubernetes.Interface

	program   string // of kube-proxy
	xtables   xtables
	kubeProxy *lab.Process // the one that runs now
	canaries  int
	spare     spare
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	program, err := apiserver.KubernetesProgram("kube-proxy")
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	// The node has an address on its pods' network as long as it has pods.
	if _, err := l.Pod(l.Nodes[0], "pod"); err != nil {
		t.Fatal(err)
	}
	c := &cluster{Lab: l, program: program}
	if c.xtables, err = newXtables(l.Nodes[0], t.TempDir()); err != nil {
		t.Fatal(err)
	}
	c.startAPIServer(t)
	return c
}

func (c *cluster) startAPIServer(t *testing.T) {
	t.Helper()
	c.plane = apiserver.NewControlPlane(apiserver.ControlPlaneConfig{
		Address:      c.Backbone.IPv4.String(),
		Port:         6443,
		ServiceCIDRs: serviceCIDRs,
		Start:        c.Backbone.Start,
		Dial:         c.Backbone.DialContext,
	})
	if err := c.plane.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	config := c.plane.RESTConfig()
	// External IPs are deprecated, which is no news after the first hundred.
	config.WarningHandler = rest.NoWarnings{}
	var err error
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
}

// setNode makes the Node what the flags say, in place of the one before.
func (c *cluster) setNode(t *testing.T, flags cases.Flags) {
	t.Helper()
	nodes := c.client.CoreV1().Nodes()
	node := flags.Node()
	if old, err := nodes.Get(t.Context(), node.Name, metav1.GetOptions{}); err == nil {
		if err := nodes.Delete(t.Context(), old.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	made, err := nodes.Create(t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Status = node.Status
	if _, err := nodes.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// makeNamespaces makes those of all trials and of the canaries.
func (c *cluster) makeNamespaces(t *testing.T, names []string) {
	t.Helper()
	atOnce(names, func(name string) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
			t.Errorf("make namespace %s: %v", name, err)
		}
	})
}
