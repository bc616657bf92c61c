// Package modeswitch has the tests of a switch between the modes under traffic, live by the configuration file and by a restart.
package modeswitch
