package apiserver

import (
	"fmt"
	"os/exec"
	"strconv"
)

// programs are the paths of the programs that make up a control plane.
type programs struct {
	etcd, server string
}

// findPrograms finds the programs, or says how to get the one that is missing.
func findPrograms() (programs, error) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return programs{}, fmt.Errorf("find etcd (get it by: hack/install.sh etcd-server): %w", err)
	}
	server, err := KubernetesProgram("kube-apiserver")
	if err != nil {
		return programs{}, err
	}
	return programs{etcd: etcd, server: server}, nil
}

// Etcd listens on sockets that are files in the control plane's folder. Unlike
// ports they cannot collide, and nobody else on the machine reaches them.
const (
	etcdClientURL = "unix://etcd:1"
	etcdPeerURL   = "unix://etcd:2"
)

func etcdArguments() []string {
	return []string{
		"--name=etcd",
		"--data-dir=etcd-data",
		// The data do not outlive the test, let alone a power failure.
		"--unsafe-no-fsync",
		"--log-level=warn",
		"--logger=zap",
		"--listen-client-urls=" + etcdClientURL,
		"--advertise-client-urls=" + etcdClientURL,
		"--listen-peer-urls=" + etcdPeerURL,
		"--initial-advertise-peer-urls=" + etcdPeerURL,
		"--initial-cluster=etcd=" + etcdPeerURL,
	}
}

func (c *ControlPlane) serverArguments() []string {
	arguments := []string{
		"--etcd-servers=" + etcdClientURL,
		"--bind-address=" + c.config.Address,
		"--secure-port=" + strconv.Itoa(c.port.number),
		// The reservation of the port is a socket bound to it.
		"--permit-port-sharing=true",
		"--advertise-address=" + c.config.AdvertiseAddress,
		"--service-cluster-ip-range=" + c.config.ServiceCIDRs,
		"--allow-privileged=true",
		"--client-ca-file=" + caFile,
		"--cert-dir=.",
		"--tls-cert-file=" + servingCertificateFile,
		"--tls-private-key-file=" + servingKeyFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + serviceAccountKeyFile,
		"--service-account-signing-key-file=" + serviceAccountKeyFile,
		"--profiling=false",
	}
	if c.config.WholeCluster {
		return append(arguments,
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--kubelet-client-certificate="+kubeletClientCertificateFile,
			"--kubelet-client-key="+kubeletClientKeyFile,
			"--kubelet-preferred-address-types=InternalIP",
		)
	}
	return append(arguments,
		"--authorization-mode=RBAC",
		// Pods need no service account here: nothing would make the default one.
		"--disable-admission-plugins=ServiceAccount",
	)
}
