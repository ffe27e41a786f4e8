//! Builds the native library for every platform, the test fixtures, and `lib/abi.ts`.
//!
//!     zig build              libraries and fixtures into the prefix
//!     zig build abi          prints lib/abi.ts
//!     zig build test         Zig's own tests
//!
//! `-Dtarget=linux-arm64` makes the fixtures and tests of another platform than linux-x64; `-fqemu`
//! then runs the tests.

const std = @import("std");

const Platform = struct {
    name: []const u8,
    query: []const u8,
    /// Fixtures use threads, and are built for the C library of the platform's runtimes.
    fixture_query: []const u8,
};
const platforms = [_]Platform{
    .{
        .name = "linux-x64",
        .query = "x86_64-linux-none",
        .fixture_query = "x86_64-linux-gnu.2.17",
    },
    .{
        .name = "linux-arm64",
        .query = "aarch64-linux-none",
        .fixture_query = "aarch64-linux-gnu.2.17",
    },
};

pub fn build(b: *std.Build) void {
    for (platforms) |platform| {
        addLibrary(b, platform, .{ .name = "faultline", .source = "root.zig" });
        addLibrary(b, platform, .{ .name = "faultline_symbols", .source = "symbols.zig" });
    }
    const what = "Platform of the fixtures and of Zig's own tests";
    const wanted = b.option([]const u8, "target", what) orelse platforms[0].name;
    const platform = for (platforms) |platform| {
        if (std.mem.eql(u8, platform.name, wanted)) break platform;
    } else std.process.fatal("no platform is called {s}", .{wanted});
    addFixtures(b, platform);
    addAbi(b);
    addTests(b, platform);
}

fn addFixtures(b: *std.Build, platform: Platform) void {
    _ = addFixture(b, "fixture", "../test/fixture.zig", platform.fixture_query);
    _ = addFixture(b, "calls_fixture", "../test/calls_fixture.zig", platform.fixture_query);
    _ = addFixture(b, "hooks_fixture", "../test/hooks_fixture.zig", platform.fixture_query);
    _ = addFixture(b, "memory_fixture", "../test/memory_fixture.zig", platform.fixture_query);
    for ([_]u32{ 448, 16 }) |byte_length| {
        const options = b.addOptions();
        options.addOption(u32, "byte_length", byte_length);
        const name = b.fmt("tls_eater_{d}", .{byte_length});
        const eater = addFixture(b, name, "../test/tls_eater.zig", platform.query);
        eater.root_module.addOptions("options", options);
    }
}

fn target(b: *std.Build, query: []const u8) std.Build.ResolvedTarget {
    const parsed = std.Target.Query.parse(.{ .arch_os_abi = query }) catch unreachable;
    return b.resolveTargetQuery(parsed);
}

const Library = struct { name: []const u8, source: []const u8 };

fn addLibrary(b: *std.Build, platform: Platform, described: Library) void {
    const library = b.addLibrary(.{
        .name = described.name,
        .linkage = .dynamic,
        // Zig's own x86-64 backend drops assembly at file level.
        .use_llvm = true,
        .root_module = b.createModule(.{
            .root_source_file = b.path(described.source),
            .target = target(b, platform.query),
            .optimize = .fast,
            .strip = true,
            .pic = true,
            .link_libc = false,
            .single_threaded = false,
            .stack_check = false,
            .omit_frame_pointer = false,
            .unwind_tables = .async,
        }),
    });
    const install = b.addInstallArtifact(library, .{
        .dest_dir = .{ .override = .{ .custom = platform.name } },
        .dest_sub_path = b.fmt("{s}.so", .{described.name}),
    });
    b.getInstallStep().dependOn(&install.step);
}

/// A library that the tests call. Not part of the package.
fn addFixture(
    b: *std.Build,
    name: []const u8,
    source: []const u8,
    query: []const u8,
) *std.Build.Step.Compile {
    const library = b.addLibrary(.{
        .name = name,
        .linkage = .dynamic,
        .use_llvm = true,
        .root_module = b.createModule(.{
            .root_source_file = b.path(source),
            .target = target(b, query),
            .optimize = .fast,
            .link_libc = std.mem.indexOf(u8, query, "gnu") != null,
            .pic = true,
            .omit_frame_pointer = false,
            .stack_check = false,
        }),
    });
    const install = b.addInstallArtifact(library, .{
        .dest_dir = .{ .override = .{ .custom = "fixture" } },
        .dest_sub_path = b.fmt("{s}.so", .{name}),
    });
    b.getInstallStep().dependOn(&install.step);
    return library;
}

fn addAbi(b: *std.Build) void {
    const generator = b.addExecutable(.{
        .name = "abi",
        .use_llvm = true,
        .root_module = b.createModule(.{
            .root_source_file = b.path("gen.zig"),
            .target = target(b, "x86_64-linux-none"),
            .optimize = .debug,
        }),
    });
    const run = b.addRunArtifact(generator);
    run.stdio = .inherit;
    run.has_side_effects = true;
    b.step("abi", "Print lib/abi.ts").dependOn(&run.step);
}

fn addTests(b: *std.Build, platform: Platform) void {
    const step = b.step("test", "Run the tests of the Zig code");
    for ([_][]const u8{ "root.zig", "symbols.zig" }) |source| {
        addTest(b, step, source, platform);
    }
}

fn addTest(
    b: *std.Build,
    step: *std.Build.Step,
    source: []const u8,
    platform: Platform,
) void {
    const tests = b.addTest(.{
        .use_llvm = true,
        .root_module = b.createModule(.{
            .root_source_file = b.path(source),
            .target = target(b, platform.query),
            .optimize = .debug,
        }),
    });
    const run = b.addRunArtifact(tests);
    run.has_side_effects = true;
    step.dependOn(&run.step);
}
