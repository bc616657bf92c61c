// Fairlead forwards the traffic of Kubernetes Services on a node, in place of kube-proxy.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/fairlead"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	klog.Flush()
	if err != nil {
		klog.Background().Error(err, "Fairlead ends")
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
}

// newCommand is fairlead without a subcommand, which runs.
func newCommand() *cobra.Command {
	run := newRunCommand(config.Default())
	root := &cobra.Command{
		Use:           "fairlead",
		Short:         "Forward the traffic of Kubernetes Services on this node",
		Long:          "Fairlead watches Services and EndpointSlices and makes this node's kernel forward every virtual IP to the right pods.",
		Args:          cobra.NoArgs,
		RunE:          run.RunE,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       fairlead.Version(),
	}
	logging := flag.NewFlagSet("logging", flag.ContinueOnError)
	klog.InitFlags(logging)
	root.PersistentFlags().AddGoFlag(logging.Lookup("v"))
	root.PersistentFlags().AddGoFlag(logging.Lookup("vmodule"))
	root.Flags().AddFlagSet(run.Flags())
	root.AddCommand(run, newCleanupCommand())
	return root
}
