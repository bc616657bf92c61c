// Package apiserver runs the Kubernetes API servers that the tests talk to.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
)

// ControlPlaneConfig says how a ControlPlane runs. The zero value runs one on
// loopback.
type ControlPlaneConfig struct {
	// Address is the IP address that the API server listens on and that its
	// clients connect to; 127.0.0.1 if empty.
	Address string
	// Port is the port of the API server. If it is zero, a free one is
	// reserved, for which Address has to exist in the network namespace of the
	// calling thread.
	Port int
	// AdvertiseAddress is the endpoint of the Service "kubernetes". If it is
	// empty, it is Address, or a documentation address if Address is loopback,
	// which the API server does not advertise.
	AdvertiseAddress string
	// ServiceCIDRs is where ClusterIPs come from: one prefix or two, separated
	// by a comma, the first of the same family as AdvertiseAddress;
	// "10.96.0.0/16,fd00:10:96::/112" if empty.
	ServiceCIDRs string
	// WholeCluster says that there will be controllers and kubelets: pods get the default service account, nodes may do what nodes
	// may, and the API server can log in at kubelets.
	WholeCluster bool
	// Dir is the folder in which the ControlPlane makes one of its own for all
	// its files; the system's folder for temporary files if empty.
	Dir string
	// Start starts a child process (in a network namespace, for example); it
	// is not to wait for its end. If it is nil, the child runs in the network
	// namespace of this process, and the kernel kills it when this process
	// ends.
	Start func(cmd *exec.Cmd) error
	// Dial makes the connections of the clients of RESTConfig and those by
	// which Start waits for the API server; a plain net.Dialer if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// defaultServiceCIDRs are the ClusterIPs of a control plane that is not told
// which to use.
const defaultServiceCIDRs = "10.96.0.0/16,fd00:10:96::/112"

// ControlPlane is a real kube-apiserver with the etcd behind it, both of them
// child processes. There are no controllers and no scheduler: a test writes the
// objects that they would make, or starts them. Its methods are for one
// goroutine at a time.
type ControlPlane struct {
	config ControlPlaneConfig
	cidrs  []netip.Prefix
	dir    string
	port   *reservedPort
	ca     *authority
	admin  *rest.Config

	etcd, server *childProcess
}

// NewControlPlane returns a control plane that is not started yet.
func NewControlPlane(config ControlPlaneConfig) *ControlPlane {
	if config.Address == "" {
		config.Address = "127.0.0.1"
	}
	if config.AdvertiseAddress == "" {
		config.AdvertiseAddress = advertised(config.Address)
	}
	if config.ServiceCIDRs == "" {
		config.ServiceCIDRs = defaultServiceCIDRs
	}
	if config.Start == nil {
		config.Start = startBound
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{}).DialContext
	}
	return &ControlPlane{config: config}
}

// advertised returns the address that an API server on this address tells the
// cluster.
func advertised(address string) string {
	ip := net.ParseIP(address)
	switch {
	case !ip.IsLoopback():
		return address
	case ip.To4() != nil:
		return "192.0.2.1"
	default:
		return "2001:db8::1"
	}
}

// Start starts etcd and the API server and returns when the API server is
// ready. If it fails, nothing is left running and no file is left behind.
func (c *ControlPlane) Start(ctx context.Context) error {
	if c.dir != "" {
		return errors.New("start control plane: it is started already")
	}
	if err := c.start(ctx); err != nil {
		return errors.Join(fmt.Errorf("start control plane: %w", err), c.Stop())
	}
	return nil
}

func (c *ControlPlane) start(ctx context.Context) error {
	programs, err := findPrograms()
	if err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	if c.etcd, err = c.launch(programs.etcd, etcdArguments()); err != nil {
		return err
	}
	if c.server, err = c.launch(programs.server, c.serverArguments()); err != nil {
		return err
	}
	return c.waitReady(ctx)
}

// prepare makes everything that the programs need before they start.
func (c *ControlPlane) prepare() (err error) {
	for cidr := range strings.SplitSeq(c.config.ServiceCIDRs, ",") {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return fmt.Errorf("service CIDRs: %w", err)
		}
		c.cidrs = append(c.cidrs, prefix)
	}
	if c.dir, err = os.MkdirTemp(c.config.Dir, "fairlead-controlplane-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if c.port, err = reservePort(c.config.Address, c.config.Port); err != nil {
		return err
	}
	if err := c.writeCredentials(); err != nil {
		return fmt.Errorf("make credentials: %w", err)
	}
	c.admin, err = c.restConfig(AdminUser)
	return err
}

// KillAPIServer kills the API server without a chance to say goodbye to its
// clients, and returns when it is gone. Etcd and with it all objects stay.
func (c *ControlPlane) KillAPIServer() error {
	if c.server == nil {
		return errors.New("kill API server: it is not running")
	}
	err := c.server.kill()
	c.server = nil
	return err
}

// RestartAPIServer starts the API server again at the same address, after
// killing it if it still runs, and returns when it is ready.
func (c *ControlPlane) RestartAPIServer(ctx context.Context) error {
	if c.etcd == nil {
		return errors.New("restart API server: the control plane is not started")
	}
	if c.server != nil {
		if err := c.KillAPIServer(); err != nil {
			return err
		}
	}
	programs, err := findPrograms()
	if err != nil {
		return err
	}
	if c.server, err = c.launch(programs.server, c.serverArguments()); err != nil {
		return fmt.Errorf("restart API server: %w", err)
	}
	if err := c.waitReady(ctx); err != nil {
		return fmt.Errorf("restart API server: %w", err)
	}
	return nil
}

// Stop kills the API server and etcd and removes their files. A control plane
// that is stopped can be started again, as an empty one. Stopping one that is
// not started does nothing.
func (c *ControlPlane) Stop() error {
	var errs []error
	for _, child := range []*childProcess{c.server, c.etcd} {
		if child != nil {
			errs = append(errs, child.kill())
		}
	}
	if c.port != nil {
		errs = append(errs, c.port.release())
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	*c = ControlPlane{config: c.config}
	return errors.Join(errs...)
}

// file returns the path of a file of the control plane.
func (c *ControlPlane) file(name string) string {
	return filepath.Join(c.dir, name)
}
