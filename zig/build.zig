//! Builds the native library for every platform, the test fixtures, and `lib/abi.ts`.
//!
//!     zig build              libraries and fixtures into the prefix
//!     zig build abi          prints lib/abi.ts
//!     zig build test         Zig's own tests

const std = @import("std");

const Platform = struct { name: []const u8, query: []const u8 };
const platforms = [_]Platform{
    .{ .name = "linux-x64", .query = "x86_64-linux-none" },
};

pub fn build(b: *std.Build) void {
    for (platforms) |platform| addLibrary(b, platform);
    addAbi(b);
    addTests(b);
}

fn target(b: *std.Build, query: []const u8) std.Build.ResolvedTarget {
    const parsed = std.Target.Query.parse(.{ .arch_os_abi = query }) catch unreachable;
    return b.resolveTargetQuery(parsed);
}

fn addLibrary(b: *std.Build, platform: Platform) void {
    const library = b.addLibrary(.{
        .name = "faultline",
        .linkage = .dynamic,
        // Zig's own x86-64 backend drops assembly at file level.
        .use_llvm = true,
        .root_module = b.createModule(.{
            .root_source_file = b.path("root.zig"),
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
        .dest_sub_path = "faultline.so",
    });
    b.getInstallStep().dependOn(&install.step);
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

fn addTests(b: *std.Build) void {
    const tests = b.addTest(.{
        .use_llvm = true,
        .root_module = b.createModule(.{
            .root_source_file = b.path("root.zig"),
            .target = target(b, "x86_64-linux-none"),
            .optimize = .debug,
        }),
    });
    const run = b.addRunArtifact(tests);
    run.has_side_effects = true;
    b.step("test", "Run the tests of the Zig code").dependOn(&run.step);
}
