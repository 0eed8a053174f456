// Package app puts mdebot together: configuration, the parts and their order of
// start and stop, HTTP listeners and the command line. It is the only package
// that sees all others, and tests start the whole program in-process through it.
package app
