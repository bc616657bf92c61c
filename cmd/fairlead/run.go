package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/conntrack"
	"github.com/fairlead/fairlead/pkg/iptables"
	"github.com/fairlead/fairlead/pkg/node"
	"github.com/fairlead/fairlead/pkg/proxier"
	"github.com/fairlead/fairlead/pkg/service"
	"github.com/fairlead/fairlead/pkg/source"
)

func newRunCommand(c *config.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Follow the cluster and forward its traffic, until told to stop; the rules stay",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), c)
		},
	}
	c.AddFlags(cmd.Flags())
	return cmd
}

// run is the whole of Fairlead: a source of objects, and for each IP family a proxier that brings them to the kernel.
func run(ctx context.Context, c *config.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	name, err := c.NodeName()
	if err != nil {
		return err
	}
	src, err := newSource(c, name)
	if err != nil {
		return err
	}
	pods, err := c.Pods()
	if err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	logger.Info("Starting", "version", version(), "mode", c.Mode, "node", name)
	if err := (conntrack.Limits{PerCore: c.Conntrack.MaxPerCore, Min: c.Conntrack.Min}).Apply(); err != nil {
		logger.Error(err, "Could not raise the number of connections that the kernel can track; going on with what it has")
	}
	var handlers source.Handlers
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, family := range node.Families() {
		p := newProxier(c, family, name, pods[family])
		handlers = append(handlers, p)
		running.Go(func() { p.Run(klog.NewContext(ctx, logger.WithValues("family", family))) })
	}
	return src.Run(ctx, handlers)
}

func newSource(c *config.Config, nodeName string) (source.Source, error) {
	if c.Manifests != "" {
		return &source.Manifests{Dir: c.Manifests, NodeName: nodeName}, nil
	}
	rest, err := clientcmd.BuildConfigFromFlags(c.Master, c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the API server; give --kubeconfig, or --manifests to go without one: %w", err)
	}
	rest.UserAgent = "fairlead/" + version()
	rest.ContentType = runtime.ContentTypeProtobuf
	rest.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("use the API server at %s: %w", rest.Host, err)
	}
	return &source.APIServer{Client: client, NodeName: nodeName, Resync: c.ConfigSyncPeriod}, nil
}

func newProxier(c *config.Config, family service.Family, nodeName string, pods netip.Prefix) *proxier.Proxier {
	builder := service.NewBuilder(service.Options{
		Family:        family,
		NodeName:      nodeName,
		Pods:          service.LocalTraffic{Sources: pods},
		MasqueradeAll: c.MasqueradeAll,
	})
	return proxier.New(builder, newBackend(c, family), proxier.Options{
		MinSyncPeriod: c.IPTables.MinSyncPeriod,
		SyncPeriod:    c.IPTables.SyncPeriod,
	})
}

func newBackend(c *config.Config, family service.Family) proxier.Backend {
	return iptables.New(iptables.Options{
		Family:        family,
		Variant:       iptables.Variant(c.IPTables.Variant),
		MasqueradeBit: c.IPTables.MasqueradeBit,
	})
}
