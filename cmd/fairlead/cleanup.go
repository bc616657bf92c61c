package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/pkg/config"
	"github.com/fairlead/fairlead/pkg/fairlead"
	"github.com/fairlead/fairlead/pkg/node"
)

func newCleanupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Remove every rule of Fairlead from this node, and nothing else",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var failures []error
			for _, family := range node.Families() {
				if err := fairlead.NewBackend(config.Default(), family).Remove(cmd.Context()); err != nil {
					failures = append(failures, fmt.Errorf("%s: %w", family, err))
				}
			}
			return errors.Join(failures...)
		},
	}
}
