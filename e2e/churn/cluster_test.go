package churn

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/lab"
	"github.com/fairlead/fairlead/e2e/site"
)

// cluster is a site with an API server at its backbone, and a Node object for each node.
type cluster struct {
	*site.Site
	t      *testing.T
	plane  *apiserver.ControlPlane
	client kubernetes.Interface
}

func newCluster(t *testing.T, variant string) *cluster {
	t.Helper()
	s := site.New(t, variant)
	plane := s.ControlPlane()
	// Protobuf, as the clients share the machine with what is measured.
	config := plane.RESTConfig()
	config.ContentType = runtime.ContentTypeProtobuf
	config.WarningHandler = rest.NoWarnings{} // that external IPs are deprecated, again and again
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Site: s, t: t, plane: plane, client: client}
	for _, node := range s.Nodes {
		c.register(node)
	}
	return c
}

// register makes the Node object of a node.
func (c *cluster) register(node *lab.Host) {
	c.t.Helper()
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: map[string]string{
		corev1.LabelHostname: node.Name, corev1.LabelTopologyZone: "zone-of-" + node.Name,
	}}}
	for _, f := range lab.Families {
		object.Status.Addresses = append(object.Status.Addresses,
			corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: node.Address(f).String()})
	}
	if _, err := c.client.CoreV1().Nodes().Create(c.t.Context(), object, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// fairlead starts Fairlead on the first node, with the settings it has by default but for those given.
func (c *cluster) fairlead(flags ...string) *lab.Process {
	c.t.Helper()
	return c.StartProcess(append([]string{"--kubeconfig", c.Kubeconfig(c.plane)}, flags...)...)
}
