package site

import (
	"os"

	"github.com/fairlead/fairlead/e2e/apiserver"
	"github.com/fairlead/fairlead/e2e/lab"
)

// StartKubeProxy runs the real kube-proxy on a node, with the Site's variant of iptables, the flags that a lab needs and those given, and
// more variables of the environment. What it says goes to log, and is shown if the test fails.
func (s *Site) StartKubeProxy(node *lab.Host, log *Log, environment []string, flags ...string) *lab.Process {
	s.t.Helper()
	program, err := apiserver.KubernetesProgram("kube-proxy")
	if err != nil {
		s.t.Fatal(err)
	}
	programs := s.t.TempDir()
	if err := LinkIPTables(programs, s.Variant); err != nil {
		s.t.Fatal(err)
	}
	// It becomes the program that it starts, so that this is the process to measure.
	args := append([]string{"PATH=" + programs + ":" + os.Getenv("PATH")}, environment...)
	args = append(args, program, "--hostname-override="+node.Name, "--cluster-cidr="+PodCIDRs,
		// The table of connections belongs to the whole machine, which the lab leaves alone.
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--v=2")
	process, err := node.StartProcess("env", append(args, flags...), log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("kube-proxy said:\n%s", log.String())
		}
	})
	return process
}
