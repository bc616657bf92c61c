package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/pkg/fairlead"
)

func newCleanupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Remove everything that Fairlead has written on this node, and nothing else",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return fairlead.Cleanup(cmd.Context()) },
	}
}
