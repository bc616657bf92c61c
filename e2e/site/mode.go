package site

import (
	"cmp"
	"os"
	"strings"
)

// Mode is the proxy mode under test. The environment says it, as all tests from outside are for every mode.
var Mode = cmp.Or(os.Getenv("FAIRLEAD_MODE"), iptablesMode)

// Variants are the kernel interfaces that everything is tried on: both, unless the environment narrows them.
var Variants = strings.Split(cmp.Or(os.Getenv("FAIRLEAD_VARIANTS"), "legacy,nft"), ",")

// IPVS is the mode that runs in the virtual machine only.
const IPVS = "ipvs"

const iptablesMode = "iptables"

// ModeFlag is a flag that every mode has under its own name: "sync-period" is --iptables-sync-period in iptables mode.
func ModeFlag(name string) string { return "--" + Mode + "-" + name }
