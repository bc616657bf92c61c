package xtables

import "github.com/fairlead/fairlead/pkg/service"

// PodMatch matches the packets of pods; empty if they cannot be told.
func PodMatch(pods service.LocalTraffic) string {
	switch {
	case pods.Sources.IsValid():
		return "-s " + pods.Sources.Masked().String()
	case pods.Interface != "":
		return "-i " + pods.Interface
	case pods.InterfacePrefix != "":
		return "-i " + pods.InterfacePrefix + "+"
	}
	return ""
}
